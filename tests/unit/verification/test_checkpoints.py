"""Checkpoints and taint through the conductor: what fails never acts, and what is tainted neither.

Pipelines are files, as users write them; their models answer as a test tells them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.asking import Arrival, News
from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided as decided_alone
from batuta.agents.context import Context
from batuta.agents.models.answers import Answers
from batuta.agents.questions import Question, payload, question_of
from batuta.agents.reasons import NoReasons
from batuta.agents.state.parking import ParkingLot, Step
from batuta.agents.verification.taint import TAINTS
from batuta.schemas.decision_codec import decode_decision, encode_decision
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from batuta.agents.models.port import AnyModel, Matrix, Scores
    from batuta.agents.pipelines import LoadedPipeline
    from batuta.schemas.decision import Decision

FILE = """\
pipeline: letters
version: 1
source: {schema: "letter_parts:Letter", id: letter, key: sender, time: at}
models:
  a: {adapter: python, use: "letter_parts:Model", inputs: [amount], cost: 0 EUR}
  b: {adapter: python, use: "letter_parts:Model", inputs: [amount, a.score]}
  c: {adapter: python, use: "letter_parts:Model", inputs: [amount], cost: 0 EUR}
  auditor: {adapter: python, kind: validation, use: "letter_parts:Model", inputs: [amount]}
  served:
    {adapter: open-inference, url: "http://127.0.0.1:1", inputs: [amount], cost: 0 EUR}
plans:
  only: PLAN
verify: VERIFY
decide:
  - {when: "score > 0.9", outcome: block, action: hold, reason: high}
  - {otherwise: approve, reason: low}
actions: {hold: {version: 1}}
escalate: {queue: people}
"""
PARTS = """\
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Letter(BaseModel):
    letter: str
    sender: str
    at: EventTime
    amount: float


class Model:
    def answer(self, inputs):
        return inputs[:, 0] * 0


class Broken:
    reasons = ("odd",)

    def check(self, batch):
        raise ZeroDivisionError
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedPipeline]:
    """Return what loads the letters with a plan and checks of a test's own."""

    def loaded(plan: str = "{ask: a}", verify: str = "[range]") -> LoadedPipeline:
        (tmp_path / "letter_parts.py").write_text(PARTS)
        file = tmp_path / "letters.yaml"
        file.write_text(FILE.replace("PLAN", plan).replace("VERIFY", verify))
        return load_file(file).loaded

    return loaded


Told = float | None
LOW = "{ask: a, check: [{range: [0, 0.5]}]}"
CONTRADICT = '{parallel: [a, c], check: ["contradiction < 0.4"]}'


@dataclass
class Telling:
    """A model that answers every row alike, or not at all."""

    name: str
    told: Told
    inputs: tuple[str, ...] = ("amount",)
    version: str = "told@0"

    async def answer(self, inputs: Matrix) -> Scores:
        if self.told is None:
            raise ModelFailedError("unavailable", self.name)
        return np.full(len(inputs), self.told)


def letter(number: int, **data: object) -> Ingested:
    return Ingested(f"l{number}", "s1", f"t{number}", 1_000, 7, "default", data, {})


def decided(loaded: LoadedPipeline, told: Mapping[str, Told], events: int = 1) -> list[Decision]:
    inputs = loaded.plan.inputs
    models: dict[str, AnyModel] = {
        name: Telling(name, told.get(name), inputs[name]) for name in inputs
    }
    conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
    return run(conductor, [letter(number, amount=5.0) for number in range(events)])


def run(conductor: Conductor, events: Sequence[Ingested]) -> list[Decision]:
    state = conductor.open_state()
    state.begin()
    return asyncio.run(decided_alone(conductor, events, Context(2_000, 0, PartitionOf(1), state)))


def test_the_record_says_each_check_and_what_failed_goes_to_a_person(
    load: Callable[..., LoadedPipeline],
) -> None:
    loaded = load("{ask: a}", '[{range: [0.0, 0.95]}, "score < 0.94 || amount > 9.0"]')
    (good,), (bad,) = decided(loaded, {"a": 0.92}), decided(loaded, {"a": 0.97})
    assert [(one.at, one.check, one.reason) for one in good.checks] == [
        ("models", "range", ""),
        ("models", "rule", ""),
    ]
    assert (good.outcome, good.action, good.taint) == ("block", "hold", ())
    assert [one.reason for one in bad.checks] == ["out_of_range", "rule_broken"]
    assert (bad.outcome, bad.reasons[0], bad.action) == ("review", "out_of_range", "")
    assert bad.score == 0.97, "a person reads what was answered"
    assert bad.taint == ("failed_check",)


@pytest.mark.parametrize(
    ("plan", "told", "outcome", "score"),
    [
        # What fails is no answer: each plan goes on by its rule.
        (f"{{fallback: [{LOW}, c]}}", {"a": 0.95, "c": 0.2}, "approve", 0.2),
        (f"{{sequence: [{LOW}, b]}}", {"a": 0.95, "b": 0.2}, "review", 0.95),
        (
            '{cascade: [{ask: a, check: [{range: [0, 0.5]}]}, c], stop: "score > 0.9"}',
            {"a": 0.95, "c": 0.2},
            "approve",
            0.2,
        ),
        (
            "{parallel: [{ask: a, check: [{range: [0, 0.5]}]}, c], quorum: 1}",
            {"a": 0.95, "c": 0.2},
            "approve",
            0.2,
        ),
        (
            '{parallel: [a, c], check: ["contradiction < 0.4"]}',
            {"a": 0.95, "c": 0.2},
            "review",
            0.575,
        ),
        (CONTRADICT, {"a": 0.4, "c": 0.2}, "approve", 0.3),
    ],
)  # fmt: skip
def test_checks_stand_between_steps(
    load: Callable[..., LoadedPipeline],
    plan: str,
    told: Mapping[str, Told],
    outcome: str,
    score: float,
) -> None:
    (decision,) = decided(load(plan), told)
    assert (decision.outcome, round(decision.score, 6)) == (outcome, score)


@pytest.mark.parametrize(
    ("says", "reason"),
    [(0.9, "high"), (0.2, "validator_refused"), (None, "validator_failed")],
)
def test_a_validator_model_is_asked_about_what_has_passed(
    load: Callable[..., LoadedPipeline], says: Told, reason: str
) -> None:
    loaded = load("{ask: a}", "[{range: [0, 0.98]}, {validator: auditor, least: 60%}]")
    (decision,) = decided(loaded, {"a": 0.95, "auditor": says})
    assert decision.reasons[0] == reason
    (refused,) = decided(loaded, {"a": 0.99, "auditor": says})
    assert [one.check for one in refused.checks] == ["range"], "nobody asks about what has failed"


def test_a_check_that_breaks_lets_nothing_pass(load: Callable[..., LoadedPipeline]) -> None:
    (decision,) = decided(load("{ask: a}", '[{use: "letter_parts:Broken"}]'), {"a": 0.95})
    assert (decision.outcome, decision.reasons[0]) == ("review", "check_broke")


def test_what_was_checked_is_parked_with_its_result(load: Callable[..., LoadedPipeline]) -> None:
    """The validator's answer comes after a restart: nobody checks, or asks, the first again."""
    loaded = load("{ask: a}", "[range, {validator: auditor}]")
    delegating = loaded.deciding.delegating
    assert delegating is not None
    asked: list[str] = []

    @dataclass
    class Noting(Telling):
        async def answer(self, inputs: Matrix) -> Scores:
            asked.append(self.name)
            return await super().answer(inputs)

    models = {n: Noting(n, 0.95, loaded.plan.inputs[n]) for n in loaded.plan.inputs}
    conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
    state = conductor.open_state()
    state.begin()
    question = conductor.understand(
        [letter(1, amount=5.0)], Context(2_000, 0, PartitionOf(1), state)
    )

    async def halfway(question: Question) -> bytes:
        class Once:
            async def drive(self, work: object) -> None:
                (call,) = work.due(0)  # type: ignore[attr-defined]
                work.take(call, Answers(np.array([0.95])), 1)  # type: ignore[attr-defined]
                work.due(0)  # type: ignore[attr-defined]

        conductor.driver, kept = Once(), conductor.driver
        await conductor.ask(question)
        conductor.driver = kept
        return payload(question, 0)

    written = asyncio.run(halfway(question))
    again = question_of([Step("l1", "k", "model", 9_000, written)], 2_000)
    work = asyncio.run(conductor.ask(again))
    assert asked == ["auditor"]
    assert work is not None
    assert work.reached.usable.tolist() == [True]


# Taint


@pytest.mark.parametrize(
    ("plan", "told", "taint"),
    [
        ("{ask: a}", {"a": 0.5}, ()),
        ("{ask: served}", {"served": 0.5}, ("unverified_model",)),
        ("{fallback: [a, served]}", {"a": 0.5}, ()),
        ("{fallback: [a, served]}", {"served": 0.5}, ("unverified_model",)),
        ("{fallback: [served, a]}", {"a": 0.5}, ()),
        ("{parallel: [a, served]}", {"a": 0.5, "served": 0.5}, ("unverified_model",)),
        ("{parallel: [a, served], quorum: 1}", {"a": 0.5}, ()),
        (
            '{cascade: [served, a], stop: "confidence > 0.9"}',
            {"served": 0.5, "a": 0.5},
            ("unverified_model",),
        ),
        ('{cascade: [served, a], stop: "confidence > 0.9"}', {"a": 0.5}, ()),
        ("{sequence: [served, a]}", {"served": 0.5, "a": 0.5}, ()),
        # An agreement is worth what the one is worth who is least tainted.
        (
            '{parallel: [a, served], check: ["contradiction < 0.4"]}',
            {"a": 0.5, "served": 0.5},
            (),
        ),
        ("{ask: served, check: [range]}", {"served": 0.5}, ("unverified_model",)),
        (
            '{ask: served, check: [{rule: "score < 0.6", verifies: true}]}',
            {"served": 0.5},
            (),
        ),
        ("{ask: served, check: [{validator: auditor}]}", {"served": 0.5, "auditor": 0.9}, ()),
    ],
)
def test_taint_travels_by_its_rule(
    load: Callable[..., LoadedPipeline], plan: str, told: Mapping[str, Told], taint: tuple[str, ...]
) -> None:
    (decision,) = decided(load(plan), told)
    assert decision.taint == taint


def test_a_model_carries_the_taint_of_what_it_reads(
    load: Callable[..., LoadedPipeline], tmp_path: Path
) -> None:
    load("{ask: a}")
    file, plain = tmp_path / "letters.yaml", "{sequence: [served, b]}"
    text = file.read_text().replace("a.score", "served.score").replace("{ask: a}", plain)
    file.write_text(text)
    loaded = load_file(file).loaded
    (decision,) = decided(loaded, {"served": 0.5, "b": 0.95})
    assert (decision.taint, decision.outcome) == (("unverified_model",), "review")
    assert decision.reasons[0] == "tainted"
    verified = "{ask: served, check: [{rule: 'score < 0.6', verifies: true}]}"
    file.write_text(text.replace(plain, f"{{sequence: [{verified}, b]}}"))
    (decision,) = decided(load_file(file).loaded, {"served": 0.5, "b": 0.95})
    assert (decision.taint, decision.action) == ((), "hold"), "what was verified is read as such"


def test_taint_is_named_as_records_carry_it() -> None:
    assert TAINTS == ("outside_text", "unverified_model", "failed_check", "stale_feature")


@pytest.mark.parametrize(("waited_ms", "taint"), [(4_000, ()), (6_000, ("stale_feature",))])
def test_features_that_waited_too_long_do_not_act(
    load: Callable[..., LoadedPipeline], waited_ms: int, taint: tuple[str, ...]
) -> None:
    """An event is parked, and its answer comes after a restart."""
    loaded = load("{ask: a}", "{check: [range], stale: 5s}")
    models: dict[str, AnyModel] = {
        n: Telling(n, 0.95, loaded.plan.inputs[n]) for n in loaded.plan.inputs
    }
    conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
    state = conductor.open_state()
    state.begin()
    lot = ParkingLot(b"-", steps_max=9)
    lot.begin()
    first = Context(2_000, 0, PartitionOf(1), state, parked=lot)
    conductor.conclude(conductor.understand([letter(1, amount=5.0)], first), "outstanding", first)
    (step,) = lot.waiting("model")
    again = question_of([step], 2_000 + waited_ms)
    asyncio.run(conductor.ask(again))
    later = Context(2_000 + waited_ms, 0, PartitionOf(1), state, parked=lot)
    news = News((Arrival(again, again.work),))
    concluded = conductor.conclude(Question.about([], again.features[:0]), None, later, news)
    (decision,) = concluded.decisions
    assert decision.taint == taint
    assert (decision.action == "hold") == (not taint)


def test_a_record_with_checks_and_taint_is_read_as_it_was_written(
    load: Callable[..., LoadedPipeline],
) -> None:
    (decision,) = decided(load("{parallel: [a, served]}"), {"a": 0.99, "served": 0.97})
    written = encode_decision(decision, "letters.decisions")
    read = decode_decision(Record("letters.decisions", 0, 0, 0, written.key, written.value))
    assert (read.checks, read.taint) == (decision.checks, ("unverified_model",))
    assert [one.taint for one in read.answers] == [(), ("unverified_model",)]
