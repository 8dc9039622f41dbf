"""The correction loop through the conductor: what is tried, in which order, and what records say.

Pipelines are files, as users write them; their models answer as a test tells them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.asking import OUTSTANDING, Arrival, News
from batuta.agents.conductor import Conductor
from batuta.agents.context import Context
from batuta.agents.models.answers import Answers
from batuta.agents.reasons import NoReasons
from batuta.agents.state.parking import ParkingLot
from batuta.agents.verification.checkpoint import CRITIQUE_CHARACTERS_MAX
from batuta.agents.verification.success import Tally, key_of, tallies_of
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.message_codec import decode_decision, encode_decision
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.schemas.review import StepAnswer
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from batuta.agents.concluded import Concluded
    from batuta.agents.models.port import AnyModel
    from batuta.agents.pipelines import LoadedPipeline
    from batuta.agents.questions import Question
    from batuta.schemas.decision import Decision

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
LOUD, CALM, RUDE = "Send it back!!!", "Please send it back.", "Whatever, send it back."
#: What a model answers: a text and a score of 0.3, a score alone, or nothing.
Said = str | float | None


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], LoadedPipeline]:
    """Return what loads the pipeline with a plan of a test's own."""

    def loaded(plan: str) -> LoadedPipeline:
        (tmp_path / "mend_parts.py").write_text(PARTS)
        file = tmp_path / "mends.yaml"
        file.write_text(FILE.replace("PLAN", plan))
        return load_file(file).loaded

    return loaded


@dataclass
class Writer:
    """A model that answers as it is told, call by call; the last word stands for all later ones."""

    name: str
    says: Sequence[Said]
    reads: tuple[str, ...]
    rows: list[Mapping[str, object]] = field(default_factory=list)

    @property
    def version(self) -> str:
        return f"{self.name}@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        said = [self._next(row) for row in rows]
        if all(one is None for one in said):
            raise ModelFailedError("unavailable", self.name)
        scores = [one if isinstance(one, float) else 0.3 for one in said]
        values = [{"text": one} if isinstance(one, str) else None for one in said]
        return Answers(np.array(scores), values=values)

    def _next(self, row: Mapping[str, object]) -> Said:
        self.rows.append(row)
        return self.says[min(len(self.rows), len(self.says)) - 1]


class Lane:
    """A scoring lane whose every batch is committed; its state lives through restarts."""

    def __init__(self, loaded: LoadedPipeline, said: Mapping[str, Sequence[Said]]) -> None:
        people = loaded.deciding.delegating.people if loaded.deciding.delegating else {}
        self.models = {
            name: Writer(name, said.get(name, [None]), inputs)
            for name, inputs in loaded.plan.inputs.items()
            if name not in people
        }
        models: dict[str, AnyModel] = {**self.models}
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
        tables = (self.lot, self.state.success.table)
        for table in tables:
            table.begin()
        concluded = self.conductor.conclude(question, answer, context, News(arrivals, revived))
        for table in tables:
            table.changes(self.now_ms)
            table.commit()
        self.decisions += concluded.decisions
        return concluded, question

    def decide(self, *events: Ingested) -> list[Decision]:
        return self.batch(*(events or (note(len(self.decisions)),)))[0].decisions


def note(number: int) -> Ingested:
    data = {"text": f"note {number}"}
    return Ingested(f"n{number}", "s1", f"t{number}", 1_000, 7, "default", data, {})


def plan_of(remedies: str, *, checks: str = "[tone]", step: str = "ask: draft") -> str:
    return f"{{{step}, check: {checks}, on_failure: {remedies}}}"


def told(decision: Decision) -> list[tuple[str, str, str]]:
    return [(one.remedy, one.result, one.reason) for one in decision.corrections]


# Each remedy


def test_a_retry_is_told_what_was_wrong(load: Callable[[str], LoadedPipeline]) -> None:
    lane = Lane(load(plan_of("[retry]")), {"draft": [LOUD, CALM]})
    (decision,) = lane.decide()
    assert decision.reasons == ("low",)
    (tried,) = decision.corrections
    assert (tried.at, tried.attempt, tried.remedy) == ("only", 1, "retry")
    assert (tried.failed, tried.result, tried.model) == (("tone_shouting",), "passed", "draft@0")
    assert tried.cost_nano == 1_000_000, "what this attempt cost"
    assert decision.answers[0].cost_nano == 2_000_000, "and what the model has cost with it"
    first, second = (row["critique"] for row in lane.models["draft"].rows)
    assert first == ""
    assert second == tried.critique
    assert str(second).startswith("tone_shouting: write calmly")
    assert [one.reason for one in decision.checks] == [""]


def test_a_remedy_takes_up_one_row_of_a_batch_and_leaves_the_others_alone(
    load: Callable[[str], LoadedPipeline],
) -> None:
    lane = Lane(load(plan_of("[retry]")), {"draft": [CALM, LOUD, CALM]})
    decisions = lane.decide(*(note(number) for number in range(3)))
    assert [len(one.corrections) for one in decisions] == [0, 1, 0]
    assert [row["event.text"] for row in lane.models["draft"].rows][3:] == ["note 1"]


def test_a_repair_by_rules_passes_the_same_checkpoint(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of('[{repair: "mend_parts:Calm"}]')
    lane = Lane(load(f"{{sequence: [{plan}, reply]}}"), {"draft": [LOUD], "reply": [0.4]})
    (decision,) = lane.decide()
    assert told(decision) == [("repair:mend_parts:Calm", "passed", "")]
    assert lane.models["reply"].rows[0]["draft.value"] == {"text": "Send it back."}
    assert decision.fallback, "another answer stands for the model's"
    named = {one.name: one.model for one in decision.answers}
    assert named["draft"] == "repair:mend_parts:Calm", "and the record says whose it is"


@pytest.mark.parametrize("part", ["Raising", "Nonsense"])
def test_a_repair_that_breaks_has_failed_and_the_next_is_tried(
    load: Callable[[str], LoadedPipeline], part: str
) -> None:
    plan = plan_of(f'[{{repair: "mend_parts:{part}"}}, {{model: bigger}}]')
    (decision,) = Lane(load(plan), {"draft": [LOUD], "bigger": [CALM]}).decide()
    assert told(decision) == [
        (f"repair:mend_parts:{part}", "failed", "remedy_broke"),
        ("model:bigger", "passed", ""),
    ]


def test_a_model_that_repairs_reads_the_answer_and_the_critique(
    load: Callable[[str], LoadedPipeline],
) -> None:
    lane = Lane(load(plan_of("[{repair: fixer}]")), {"draft": [LOUD], "fixer": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("repair:fixer", "passed", "")]
    (row,) = lane.models["fixer"].rows
    assert row["draft.value"] == {"text": LOUD}
    assert str(row["critique"]).startswith("tone_shouting: ")


def test_what_comes_of_a_remedy_is_checked_like_any_answer(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("[retry, {model: bigger}]")
    (decision,) = Lane(load(plan), {"draft": [LOUD, RUDE], "bigger": [LOUD]}).decide()
    assert told(decision) == [
        ("retry", "failed", "tone_rude"),
        ("model:bigger", "failed", "tone_shouting"),
    ]
    assert [one.failed for one in decision.corrections] == [("tone_shouting",), ("tone_rude",)]
    assert (decision.outcome, decision.reasons[0]) == ("review", "tone_shouting")
    assert decision.taint == ("outside_text", "failed_check")


def test_a_check_that_raises_counts_as_failed_each_time(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("[{retry: 2}]", checks='[{use: "mend_parts:Broken"}]')
    (decision,) = Lane(load(plan), {"draft": [CALM]}).decide()
    assert told(decision) == [("retry", "failed", "check_broke")] * 2
    assert decision.reasons[0] == "check_broke"


def test_validators_judge_the_new_answer_too(load: Callable[[str], LoadedPipeline]) -> None:
    plan = plan_of("[retry]", checks="[tone, {validator: auditor}]")
    lane = Lane(load(plan), {"draft": [CALM, CALM], "auditor": [0.2, 0.9]})
    (decision,) = lane.decide()
    assert told(decision) == [("retry", "passed", "")]
    assert decision.corrections[0].failed == ("validator_refused",)
    assert len(lane.models["auditor"].rows) == 2


def test_a_long_critique_is_cut_and_marked(load: Callable[[str], LoadedPipeline]) -> None:
    step = " ".join(f"word{number}" for number in range(100))
    lane = Lane(load(plan_of("[retry]", checks=f"[{{compliance: [{step}]}}]")), {"draft": [CALM]})
    (decision,) = lane.decide()
    said = str(lane.models["draft"].rows[1]["critique"])
    assert len(said) == CRITIQUE_CHARACTERS_MAX
    assert said.endswith(" [cut]")
    assert decision.corrections[0].critique == said


# Bounds, and what cannot be done


def test_attempts_are_bounded_per_event_and_per_failure(
    load: Callable[[str], LoadedPipeline],
) -> None:
    remedies = "{remedies: [{retry: 5}, {model: bigger}], attempts: 4, attempts_per_reason: 2}"
    lane = Lane(load(plan_of(remedies)), {"draft": [LOUD, LOUD, RUDE, RUDE], "bigger": [RUDE]})
    (decision,) = lane.decide()
    assert told(decision) == [
        ("retry", "failed", "tone_shouting"),
        ("retry", "failed", "tone_rude"),
        ("retry", "failed", "tone_rude"),
        ("retry", "failed", "tone_rude"),
    ]
    assert Counter(one.failed[0] for one in decision.corrections) == {
        "tone_shouting": 2,
        "tone_rude": 2,
    }


def test_a_remedy_may_be_for_some_failures_only(load: Callable[[str], LoadedPipeline]) -> None:
    remedies = '[{repair: "mend_parts:Calm", reasons: [tone_shouting]}, {model: bigger}]'
    (decision,) = Lane(load(plan_of(remedies)), {"draft": [RUDE], "bigger": [CALM]}).decide()
    assert told(decision) == [("model:bigger", "passed", "")]


def test_who_does_not_answer_has_failed_and_the_answer_before_is_kept(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("{remedies: [retry, {repair: fixer}], order: file}")
    lane = Lane(load(plan), {"draft": [LOUD, None], "fixer": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("retry", "failed", "unavailable"), ("repair:fixer", "passed", "")]
    assert lane.models["fixer"].rows[0]["draft.value"] == {"text": LOUD}
    assert decision.answers[0].failure == ""


def test_a_remedy_that_an_event_has_no_time_for_is_skipped(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("[{model: bigger, needs: 11s}, retry]")
    lane = Lane(load(plan), {"draft": [LOUD, CALM], "bigger": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("model:bigger", "skipped", "no_time"), ("retry", "passed", "")]
    assert lane.models["bigger"].rows == []
    assert lane.state.success.table.get(key_of("only", "tone_shouting", "model:bigger")) is None


# A person


def test_a_person_is_asked_last_over_a_restart_and_once(
    load: Callable[[str], LoadedPipeline],
) -> None:
    lane = Lane(load(plan_of("[retry, {human: desk}]")), {"draft": [LOUD]})
    concluded, _ = lane.batch(note(1))
    (case,) = concluded.cases
    assert (concluded.decisions, case.queue) == ([], "mends-review")
    lane.restart()
    answer = StepAnswer(case.case_id, case.step_id, "desk", 0.2, None, "ada", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert told(decision) == [("retry", "failed", "tone_shouting"), ("human:desk", "passed", "")]
    assert (decision.reasons, decision.taint, decision.score) == (("low",), (), 0.2)
    assert len(lane.models["draft"].rows) == 2, "nobody asks the model once more"
    again, _ = lane.batch(answer)
    assert (again.decisions, again.ignored) == ([], 1)


def test_a_person_who_says_nothing_leaves_it_to_a_review(
    load: Callable[[str], LoadedPipeline],
) -> None:
    lane = Lane(load(plan_of("[{human: desk}]")), {"draft": [LOUD]})
    (case,) = lane.batch(note(1))[0].cases
    answer = StepAnswer(case.case_id, case.step_id, "desk", None, "timeout", "", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert told(decision) == [("human:desk", "failed", "timeout")]
    assert (decision.outcome, decision.reasons[0]) == ("review", "tone_shouting")


# Parked


def test_an_attempt_that_is_parked_goes_on_after_a_restart(
    load: Callable[[str], LoadedPipeline],
) -> None:
    """The first retry has failed and the second is under way when the worker ends."""
    plan = plan_of("[{retry: 2}]")
    lane = Lane(load(plan), {"draft": [LOUD, RUDE, CALM]})

    class Halfway:
        async def drive(self, work: object) -> None:
            for said in (LOUD, RUDE):
                (call,) = work.due(0)  # type: ignore[attr-defined]
                answer = Answers(np.array([0.3]), values=[{"text": said}])
                work.take(call, answer, 5)  # type: ignore[attr-defined]
            work.due(0)  # type: ignore[attr-defined]

    lane.conductor.driver, kept = Halfway(), lane.conductor.driver
    lane.batch(note(1))
    lane.conductor.driver = kept
    lane.models["draft"].says = [CALM]
    assert lane.decisions == []
    lane.restart()
    (follow_up,) = lane.batch(revived=True)[0].follow_ups
    (decision,) = lane.batch(news=[follow_up])[0].decisions
    assert told(decision) == [("retry", "failed", "tone_rude"), ("retry", "passed", "")]
    (row,) = lane.models["draft"].rows
    assert str(row["critique"]).startswith("tone_rude: "), "it is told again what was wrong"
    assert lane.batch(news=[follow_up])[0].decisions == [], "and decided once"


# What has helped


def test_what_has_helped_goes_first_and_the_tallies_equal_a_recount(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("[{model: bigger}, {repair: fixer}, {retry: 1, place: first}, {human: desk}]")
    lane = Lane(load(plan), {"draft": [LOUD], "bigger": [RUDE], "fixer": [CALM]})
    for number in range(6):
        lane.decide(note(number))
    orders = [[one.remedy for one in decision.corrections] for decision in lane.decisions]
    assert orders[0] == ["retry", "model:bigger", "repair:fixer"]
    assert orders[-1] == ["retry", "repair:fixer"], "it fails, and the one behind it helps"
    assert [one.odds for one in lane.decisions[0].corrections] == [0.5] * 3
    lane.restart()
    held = dict(lane.state.success.table.items())
    assert held == dict(tallies_of(lane.decisions))
    assert held[key_of("only", "tone_shouting", "retry")] == Tally(6, 0)
    lane.decide(note(7))
    assert [one.remedy for one in lane.decisions[-1].corrections] == orders[-1], "it repeats"


# Taint


@pytest.mark.parametrize(
    ("remedies", "taint"),
    [
        ("[retry]", ("outside_text",)),
        ('[{repair: "mend_parts:Calm"}]', ("outside_text",)),
        # It reads neither text nor answer: what it says is its own.
        ("[{model: plain}]", ()),
        # It reads the answer that failed.
        ("[{repair: fixer}]", ("outside_text",)),
    ],
)
def test_a_corrected_answer_is_as_tainted_as_what_it_was_made_of(
    load: Callable[[str], LoadedPipeline], tmp_path: Path, remedies: str, taint: tuple[str, ...]
) -> None:
    load("{ask: draft}")
    plain = '  plain: {adapter: python, use: "mend_parts:Writer", reads: [ones], cost: 0 EUR}\n'
    text = FILE.replace("PLAN", plan_of(remedies)).replace("  desk:", f"{plain}  desk:")
    ones = 'understand:\n  - context: {ones: "1.0"}\nmodels:\n'
    (tmp_path / "mends.yaml").write_text(text.replace("models:\n", ones, 1))
    loaded = load_file(tmp_path / "mends.yaml").loaded
    said = {"draft": [LOUD, CALM], "plain": [CALM], "fixer": [CALM]}
    (decision,) = Lane(loaded, said).decide()
    assert decision.corrections[-1].result == "passed"
    assert decision.taint == taint


def test_a_record_with_corrections_is_read_as_it_was_written(
    load: Callable[[str], LoadedPipeline],
) -> None:
    plan = plan_of("[{model: bigger, needs: 11s}, retry]")
    (decision,) = Lane(load(plan), {"draft": [LOUD, CALM]}).decide()
    written = encode_decision(decision, "mends.decisions")
    read = decode_decision(Record("mends.decisions", 0, 0, 0, written.key, written.value))
    assert read.corrections == decision.corrections
