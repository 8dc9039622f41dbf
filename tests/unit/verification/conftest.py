"""A pipeline of notes whose drafts are corrected, and a lane that decides about them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest

from batuta.agents.asking import OUTSTANDING, Arrival, News
from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import second_turn
from batuta.agents.context import Context
from batuta.agents.models.answers import Answers
from batuta.agents.reasons import NoReasons
from batuta.agents.state.parking import ParkingLot
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batuta.agents.concluded import Concluded
    from batuta.agents.delegation.work import Work
    from batuta.agents.models.port import AnyModel
    from batuta.agents.pipelines import LoadedPipeline
    from batuta.agents.questions import Question
    from batuta.schemas.decision import Decision
    from batuta.schemas.review import StepAnswer

FILE = """\
pipeline: mends
version: 1
source: {schema: "mend_parts:Note", id: note, key: sender, time: at}
models:
  draft:
    {adapter: python, use: "mend_parts:Writer", reads: [event.text, critique], cost: 0.001 EUR}
  bigger: {adapter: python, use: "mend_parts:Writer", reads: [event.text], cost: 0.02 EUR}
  fixer: {adapter: python, use: "mend_parts:Writer", reads: [draft.value, critique], cost: 0 EUR}
  reply: {adapter: python, use: "mend_parts:Writer", reads: [draft.value], cost: 0 EUR}
  auditor: {adapter: python, kind: validation, use: "mend_parts:Writer", reads: [draft.value]}
  desk: {kind: human, queue: mends-review, sla: 1h}
deadline: 10s
plans:
  only: PLAN
decide:
  - {when: "score > 0.9", outcome: block, action: hold, reason: high}
  - {otherwise: approve, reason: low}
actions: {hold: {version: 1}}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.agents.models.answers import Answers
from batuta.schemas.times import EventTime


class Note(BaseModel):
    note: str
    sender: str
    at: EventTime
    text: str


class Writer:
    def answer_rows(self, rows):
        raise NotImplementedError


class Calm:
    def repair(self, batch):
        texts = [value["text"].rstrip("!") + "." for value in batch.values]
        return Answers(batch.scores, values=[{"text": text} for text in texts])


class Raising:
    def repair(self, batch):
        raise ZeroDivisionError


class Nonsense:
    def repair(self, batch):
        return Answers(np.zeros(len(batch) + 1))


class Broken:
    reasons = ("odd",)

    def check(self, batch):
        raise ZeroDivisionError
"""
#: What a model answers: a text and a score of 0.3, a score alone, or nothing.
Said = str | float | None


@dataclass
class Writer:
    """A model that answers as it is told, call by call; the last word stands for all later ones."""

    name: str
    says: Sequence[Said]
    reads: tuple[str, ...]
    rows: list[Mapping[str, object]] = field(default_factory=list)
    score: float = 0.3
    version: str = ""

    def __post_init__(self) -> None:
        self.version = f"{self.name}@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        said = [self._next(row) for row in rows]
        if all(one is None for one in said):
            raise ModelFailedError("unavailable", self.name)
        scores = [one if isinstance(one, float) else self.score for one in said]
        values = [{"text": one} if isinstance(one, str) else None for one in said]
        return Answers(np.array(scores), values=values)

    def _next(self, row: Mapping[str, object]) -> Said:
        self.rows.append(row)
        return self.says[min(len(self.rows), len(self.says)) - 1]


@dataclass(frozen=True)
class Halfway:
    """Hears these answers, one after the other, and no more."""

    answers: Sequence[str]

    async def drive(self, work: Work) -> None:
        for said in self.answers:
            for call in work.due(0):
                rows = len(call.rows)
                work.take(call, Answers(np.full(rows, 0.3), values=[{"text": said}] * rows), 5)
        work.due(0)


class Lane:
    """A scoring lane whose every batch is committed; its state lives through restarts."""

    def __init__(self, loaded: LoadedPipeline, said: Mapping[str, Sequence[Said]]) -> None:
        self.loaded = loaded
        people = loaded.deciding.delegating.people if loaded.deciding.delegating else {}
        self.models = {
            name: Writer(name, said.get(name, [None]), inputs)
            for name, inputs in loaded.plan.inputs.items()
            if name not in people
        }
        models: Mapping[str, AnyModel] = self.models
        self.conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
        self.now_ms = 2_000
        self.decisions: list[Decision] = []
        self.restart(fresh=True)

    def restart(self, *, fresh: bool = False) -> None:
        """Go on with what the changelog holds, and nothing else."""
        held = [] if fresh else [*self.lot.dump(), *self.state.success.table.dump()]
        self.state = self.conductor.open_state()
        self.lot = ParkingLot(b"\x04", steps_max=100)
        for key, value in held:
            (self.lot if key[:1] == b"\x04" else self.state.success.table).load(key, value)

    def batch(
        self,
        *items: Ingested | StepAnswer,
        late: bool = False,
        news: Sequence[Question] = (),
        revived: bool = False,
    ) -> tuple[Concluded, Question]:
        context = Context(self.now_ms, 0, PartitionOf(1), self.state, parked=self.lot)
        self.state.begin()
        question = self.conductor.understand(items, context)
        self.state.changes(self.now_ms)
        self.state.commit()
        answer = OUTSTANDING if late else asyncio.run(self.conductor.ask(question))
        arrivals = [Arrival(one, asyncio.run(self.conductor.ask(one))) for one in news]
        with second_turn((self.lot, *self.state.answer_tables), self.now_ms):
            concluded = self.conductor.conclude(question, answer, context, News(arrivals, revived))
        self.decisions += concluded.decisions
        return concluded, question

    def decide(self, *events: Ingested) -> Sequence[Decision]:
        return self.batch(*(events or (self.note(len(self.decisions)),)))[0].decisions

    def park(self, *answers: str, events: int = 1) -> None:
        """Let a worker end after these answers about events, with the next calls under way."""
        kept = self.conductor.driver
        self.conductor.driver = Halfway(answers)
        self.batch(*(self.note(number) for number in range(events)))
        self.conductor.driver = kept

    @staticmethod
    def note(number: int) -> Ingested:
        data = {"text": f"note {number}"}
        return Ingested(f"n{number}", "s1", f"t{number}", 1_000, 7, "default", data, {})


class Mends(Protocol):
    """Makes a lane of the pipeline with a plan of a test's own, and models that say this."""

    def __call__(
        self, plan: str, said: Mapping[str, Sequence[Said]], *replaced: tuple[str, str]
    ) -> Lane: ...


@pytest.fixture
def mends(tmp_path: Path) -> Mends:
    """Make lanes; of the file some more may be replaced."""
    (tmp_path / "mend_parts.py").write_text(PARTS)

    def lane(plan: str, said: Mapping[str, Sequence[Said]], *replaced: tuple[str, str]) -> Lane:
        text = FILE.replace("PLAN", plan)
        for old, new in replaced:
            text = text.replace(old, new, 1)
        (tmp_path / "mends.yaml").write_text(text)
        return Lane(load_file(tmp_path / "mends.yaml").loaded, said)

    return lane
