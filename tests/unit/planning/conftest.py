"""A pipeline of letters whose plans a model proposes, and what its models were asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.asking import OUTSTANDING, Arrival, News
from batuta.agents.conductor import Concluded, Conductor
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
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from batuta.agents.asking import Outstanding
    from batuta.agents.conductor_state import ConductorState
    from batuta.agents.models.port import AnyModel
    from batuta.agents.questions import Answer, Question
    from batuta.agents.selection.planner import Planner
    from batuta.schemas.decision import Decision
    from batuta.schemas.review import StepAnswer
    from batuta.streams.pipelines.loading import PipelineOnDisk

FILE = """\
pipeline: letters
version: 1
source: {schema: "chart_parts:Letter", id: letter, key: sender, time: at}
models:
  cheap: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0.001 EUR}
  strong: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0.01 EUR}
  reader: {adapter: python, use: "chart_parts:Part", reads: [cheap.score], cost: 0.001 EUR}
  dear: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 1 EUR}
  secret: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0 EUR}
  analyst: {kind: human, queue: desk, sla: 30m, cost: 0.005 EUR}
  strategist: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0.001 EUR}
plans:
  static: {ask: cheap}
  twice: {sequence: [cheap, reader]}
  hidden: {fallback: [secret, cheap]}
select:
  among: [static]
  planner:
    ask: strategist
    allow: [cheap, strong, reader, dear, analyst]
    price: 0.02 EUR
    depth: 4
    steps: 12
    size: 2KiB
    replans: 0
verify:
  - "score < 0.99"
decide:
  - {when: "score > 0.5", outcome: block, action: hold}
  - {otherwise: approve, reason: fine}
actions:
  hold: {version: 1}
escalate: {queue: people}
"""
#: What of the file says how plans are chosen.
SELECT = FILE[FILE.index("  among: [static]") : FILE.index("verify:\n")]
UNDERSTOOD = """\
  understand: intake
  among: [static, twice, deep, asked]
  weights: {static: 1, twice: 1, deep: 1, asked: 1}
  rules:
    - {when: "event.size > 100.0", among: [deep]}
    - {when: "intake.value.language == 'de'", among: [twice]}
    - {when: "intake.score > 0.5 || intake.confidence > 0.99", among: [deep]}
    - {when: "intake.value.risk > 3.0", among: [asked]}
    - {when: "true", among: [static]}
"""
MODELS = """\
models:
  intake: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0.001 EUR}
  follower: {adapter: python, use: "chart_parts:Part", reads: [intake.value], cost: 0.001 EUR}
"""
PLANS = """\
plans:
  deep: {sequence: [follower, strong]}
  asked: {sequence: [cheap, analyst]}
"""
PARTS = """\
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Letter(BaseModel):
    letter: str
    sender: str
    at: EventTime
    size: float


class Part:
    def answer(self, inputs):
        raise AssertionError("another answers in these tests")

    def answer_rows(self, rows):
        raise AssertionError("another answers in these tests")
"""


@dataclass
class Told:
    """A model that answers every row alike, unless it fails; keeps what it was asked."""

    name: str
    reads: tuple[str, ...]
    score: float = 0.1
    fails: bool = False
    rows: list[Mapping[str, object]] = field(default_factory=list)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.version = f"{self.name}@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        self.rows += rows
        if self.fails:
            raise ModelFailedError("unavailable", self.name)
        return Answers(np.full(len(rows), self.score))


@dataclass
class Strategist(Told):
    """A planner that says what the test wants, about the first plans of letters in order."""

    says: list[object] = field(default_factory=list)
    again: object = None

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        self.rows += rows
        if self.fails:
            raise ModelFailedError("timeout", self.name)
        values = [self._said(row) for row in rows]
        return Answers(np.full(len(rows), 0.9), values=values)

    def _said(self, row: Mapping[str, object]) -> object:
        briefing = row["briefing"]
        assert isinstance(briefing, dict)
        if "failed" in briefing:
            return self.again
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


class Desk:
    """A scoring lane of letters; every batch is committed."""

    def __init__(self, on_disk: PipelineOnDisk) -> None:
        self.on_disk = on_disk
        plan = on_disk.loaded.plan
        self.models = {name: Told(name, plan.inputs[name]) for name in plan.asked}
        self.strategist = Strategist("strategist", plan.inputs["strategist"])
        asked: dict[str, AnyModel] = {**self.models, "strategist": self.strategist}
        self.conductor = Conductor(
            on_disk.loaded.pipeline, asked, NoReasons(), on_disk.loaded.deciding
        )
        self.state = self.conductor.open_state()
        self.lot = ParkingLot(b"p", steps_max=5_000)
        self.now_ms = 0
        self._numbers = count()

    @property
    def planner(self) -> Planner:
        planner = self.on_disk.loaded.plan.delegating.planner
        assert planner is not None
        return planner

    def decide(self, *says: object) -> Sequence[Decision]:
        """Return the decisions about as many letters as there are proposals."""
        self.strategist.says = list(says)
        return self.batch([self.letter() for _ in says])[0].decisions

    def letter(self) -> Ingested:
        name = f"l{next(self._numbers)}"
        data = {"letter": name, "sender": name, "size": 1.0}
        return Ingested(name, name, name, 1_000, 7, "default", data, {})

    def batch(
        self,
        letters: Sequence[Ingested | StepAnswer],
        *,
        halfway: bool = False,
        news: News[Question, Answer] | None = None,
    ) -> tuple[Concluded, Question]:
        self.state.begin()
        context = self._context()
        question = self.conductor.understand(letters, context)
        self.state.changes(self.now_ms)
        self.state.commit()
        answer: Answer | Outstanding = asyncio.run(self.conductor.ask(question))
        if halfway:
            answer = OUTSTANDING
        with second_turn((self.lot,), self.now_ms):
            concluded = self.conductor.conclude(question, answer, context, news or News())
        return concluded, question

    def answer(self, question: Question) -> Sequence[Decision]:
        """Let the answer to a question arrive in a batch of its own."""
        said = asyncio.run(self.conductor.ask(question))
        return self.batch([], news=News((Arrival(question, said),)))[0].decisions

    def revived(self) -> list[Question]:
        """Return what is asked again where nobody remembers what was."""
        return list(self.batch([], news=News(revived=True))[0].follow_ups)

    def _context(self) -> Context[ConductorState]:
        return Context(self.now_ms, 0, PartitionOf(1), self.state, parked=self.lot)


@pytest.fixture
def letters(tmp_path: Path) -> Callable[..., Path]:
    """Write the pipeline, some of its lines replaced: old, new, old, new."""

    def write(*changes: str) -> Path:
        (tmp_path / "chart_parts.py").write_text(PARTS)
        text = FILE
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new, 1)
        file = tmp_path / "letters.yaml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def desk(letters: Callable[..., Path]) -> Callable[..., Desk]:
    """Open a desk of the pipeline, some of its lines replaced."""

    def opened(*changes: str) -> Desk:
        return Desk(load_file(letters(*changes)))

    return opened


@pytest.fixture
def intake_first() -> tuple[str, ...]:
    """What of the pipeline is replaced where `intake` is asked before plans are chosen."""
    return SELECT, UNDERSTOOD, "models:\n", MODELS, "plans:\n", PLANS


@pytest.fixture
def first(desk: Callable[..., Desk], intake_first: tuple[str, ...]) -> Desk:
    """A desk whose letters are understood before their plans are chosen."""
    return desk(*intake_first)
