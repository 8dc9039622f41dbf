"""Each check, and the battery that all of them keep; what breaks has failed, never passed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import BaseModel

from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Column, Names
from batuta.agents.understanding.isolation import Direct
from batuta.agents.verification.checkpoint import BROKE, BoundCheck, Checkpoint, cut
from batuta.agents.verification.compliance import ComplianceCheck
from batuta.agents.verification.expressions import RuleCheck, contradiction_of
from batuta.agents.verification.grounding import GroundingCheck
from batuta.agents.verification.own import OwnCheck
from batuta.agents.verification.port import CheckBatch, Verdict
from batuta.agents.verification.ranges import RangeCheck
from batuta.agents.verification.shapes import SchemaCheck
from batuta.agents.verification.tone import ToneCheck
from batuta.schemas.ingested import Ingested
from batuta.streams.adapters.isolation import Threads
from batuta.streams.testing import check_batch_check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batuta.agents.models.port import Scores
    from batuta.agents.policy.names import Flags, Kind
    from batuta.agents.understanding.features import Features
    from batuta.agents.verification.port import BatchCheck

NAN = float("nan")


FIELDS: Mapping[str, Kind] = {"amount": "double", "text": "string"}


def event(number: int, **data: object) -> Ingested:
    return Ingested(f"e{number}", "c1", "t1", 1_000 + number, 7, "default", data, {})


def answers(
    scores: Sequence[float],
    values: Mapping[str, Sequence[object]] | None = None,
    compared: Mapping[str, Sequence[float]] | None = None,
    confidence: float = 0.9,
) -> Callable[[Sequence[int]], CheckBatch]:
    """Return what gives some rows of these answers as checks see them."""

    def batch_of(rows: Sequence[int]) -> CheckBatch:
        places = list(rows)
        events = [event(row, amount=10.0 * row, text="hello") for row in places]
        chosen = np.array([scores[row] for row in places], np.float64)
        seen = EventRows(events, FIELDS)
        several = {
            name: np.array([each[row] for row in places], np.float64)
            for name, each in (compared or {}).items()
        }
        sure = np.full(len(places), confidence)
        seen.give("score", Column(chosen))
        seen.give("confidence", Column(sure))
        seen.give("contradiction", Column(contradiction_of(several, len(places))))
        told = {name: [each[row] for row in places] for name, each in (values or {}).items()}
        return CheckBatch(events, chosen, sure, np.zeros((len(places), 1)), several, told, seen)

    return batch_of


class Reply(BaseModel):
    text: str
    amount: float


class Sober:
    def passes(self, scores: Scores, features: Features) -> Flags:
        del features
        return scores < 0.9


ANSWERED = Names(
    {**FIELDS, "score": "double", "confidence": "double", "contradiction": "double"},
    frozenset(FIELDS),
)
SOURCES = [
    "Refunds of up to 50 EUR are sent within 3 days after your identity is confirmed.",
    {"text": "Cards that are lost are blocked at once and a new one is sent to your address."},
]


def rule(text: str) -> RuleCheck:
    return RuleCheck(Expression(text, ANSWERED, ("bool",)))


def of(*texts: object) -> dict[str, Sequence[object]]:
    return {"draft": texts, "sources": [SOURCES] * len(texts)}


#: A check, answers, and the reason of each; none where it passes.
CASES: list[tuple[str, BatchCheck, Callable[[Sequence[int]], CheckBatch], list[str]]] = [
    (
        "range",
        RangeCheck(0.1, 0.9),
        answers([0.1, 0.95, NAN, 0.9]),
        ["", "out_of_range", "out_of_range", ""],
    ),
    ("range of confidence", RangeCheck(), answers([0.5], confidence=1.5), ["out_of_range"]),
    (
        "schema",
        SchemaCheck(Reply, "draft"),
        answers(
            [0.5] * 4,
            of({"text": "a", "amount": 1.0}, {"text": "a", "amount": "1"}, None, {"text": "a"}),
        ),
        ["", "schema_broken", "schema_broken", "schema_broken"],
    ),
    (
        "contradiction",
        rule("contradiction < 0.4"),
        answers([0.5] * 3, compared={"a": [0.5, 0.9, 0.9], "b": [0.6, 0.1, NAN]}),
        ["", "models_contradict", "models_contradict"],
    ),
    ("rule", rule("score < 0.9 || amount > 5.0"), answers([0.95, 0.95]), ["rule_broken", ""]),
    (
        "rule that cannot be told",
        rule("event.text == 3 && score < 2.0"),
        answers([0.5]),
        ["rule_broken"],
    ),
    (
        "grounding",
        GroundingCheck("draft", "sources", 0.6),
        answers(
            [0.5] * 6,
            of(
                "Hello! A lost card is blocked at once.",
                "Refunds are sent within 30 days after your identity is confirmed.",
                "You will receive a voucher and free shipping for a year.",
                "",
                {"text": "Thank you."},
                20_001 * "a",
            ),
        ),
        ["", "claim_ungrounded", "claim_ungrounded", "nothing_to_ground", "", "text_too_long"],
    ),
    (
        "tone",
        ToneCheck("draft", ["cheers"]),
        answers(
            [0.5] * 5,
            of(
                "We are sorry for the trouble.",
                "Do not be STUPID.",
                "This is your own fault.",
                "WE HAVE TOLD YOU BEFORE",
                "Cheers, the team",
            ),
        ),
        ["", "tone_rude", "tone_blaming", "tone_shouting", "tone_unwanted"],
    ),
    (
        "compliance",
        ComplianceCheck("draft", ["confirm your identity", "send the refund"]),
        answers(
            [0.5] * 3,
            of(
                "First we confirm your identity. Then we are sending the refund.",
                "We confirm your identity.",
                "We send the refund. Later you confirm your identity.",
            ),
        ),
        ["", "step_missing", "steps_out_of_order"],
    ),
    ("own", OwnCheck(Sober(), "too_sure"), answers([0.2, 0.95]), ["", "too_sure"]),
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])


@cases
def test_a_check_finds_what_it_is_for(
    case: tuple[str, BatchCheck, Callable[[Sequence[int]], CheckBatch], list[str]],
) -> None:
    _, check, batch_of, reasons = case
    codes = check.check(batch_of(range(len(reasons)))).codes.tolist()
    assert ["" if code == 0 else check.reasons[code - 1] for code in codes] == reasons


@cases
def test_every_check_keeps_the_battery(
    case: tuple[str, BatchCheck, Callable[[Sequence[int]], CheckBatch], list[str]],
) -> None:
    _, check, batch_of, reasons = case
    check_batch_check(check, batch_of, len(reasons))


class Answering:
    reasons = ("odd",)

    def __init__(self, verdict: object) -> None:
        self._verdict = verdict

    def check(self, batch: CheckBatch) -> Verdict:
        del batch
        if isinstance(self._verdict, Exception):
            raise self._verdict
        return self._verdict  # type: ignore[return-value]


def codes(*found: float) -> np.ndarray:
    return np.array(found, np.int8)


@pytest.mark.parametrize(
    "verdict",
    [
        ZeroDivisionError(),
        None,
        "passed",
        Verdict(codes(0)),
        Verdict(codes(0, 2)),
        Verdict(codes(0, -1)),
        Verdict(np.array([0, 0])),
        Verdict(np.array([False, False])),
        Verdict(codes(0, 1), {7: "beyond"}),
        Verdict(codes(0, 1), {1: 3}),  # type: ignore[dict-item]
    ],
)
def test_a_check_that_breaks_has_failed_every_answer(verdict: object) -> None:
    told: list[str] = []

    class Hearing(Direct):
        def report(self, part: str, failure: Exception) -> None:
            told.append(f"{part}: {type(failure).__name__}")

    bound = BoundCheck("odd", Answering(verdict))
    checkpoint = Checkpoint("models", (bound, BoundCheck("range", RangeCheck())))
    found, _ = checkpoint.run(answers([0.5, 0.5])([0, 1]), Hearing())
    assert found.tolist() == [[BROKE, BROKE], [0, 0]]
    assert checkpoint.reason(0, BROKE) == "check_broke"
    assert len(told) == 1


@pytest.mark.parametrize("answer", [[True], [1.0, 1.0], "text", ZeroDivisionError()])
def test_an_own_check_that_answers_nonsense_has_failed(answer: object) -> None:
    class Odd:
        def passes(self, scores: Scores, features: Features) -> Flags:
            del scores, features
            if isinstance(answer, Exception):
                raise answer
            return np.asarray(answer)

    checkpoint = Checkpoint("models", (BoundCheck("odd", OwnCheck(Odd(), "too_sure")),))
    found, _ = checkpoint.run(answers([0.5, 0.5])([0, 1]), Direct())
    assert found.tolist() == [[BROKE, BROKE]]


def test_a_check_that_hangs_has_failed_and_is_not_asked_until_it_returns() -> None:
    class Hanging:
        reasons = ("odd",)

        def check(self, batch: CheckBatch) -> Verdict:
            time.sleep(0.3)
            return Verdict(np.zeros(len(batch), np.int8))

    told: list[Exception] = []
    isolation = Threads(lambda _, failure: told.append(failure), timeout_s=0.01)
    checkpoint = Checkpoint("models", (BoundCheck("slow", Hanging()),))
    batch = answers([0.5])([0])
    assert checkpoint.run(batch, isolation)[0].tolist() == [[BROKE]]
    assert checkpoint.run(batch, isolation)[0].tolist() == [[BROKE]]
    assert all(isinstance(one, TimeoutError) for one in told)
    assert len(told) == 2


def test_critiques_are_joined_cut_and_marked() -> None:
    class Wordy(Answering):
        def check(self, batch: CheckBatch) -> Verdict:
            return Verdict(np.ones(len(batch), np.int8), {0: "x" * 10_000})

    checkpoint = Checkpoint("models", (BoundCheck("a", Wordy(0)), BoundCheck("b", Wordy(0))))
    _, critiques = checkpoint.run(answers([0.5])([0]), Direct())
    assert critiques == {0: cut("x" * 10_000)}
    assert len(critiques[0]) == 500
    assert critiques[0].endswith("[cut]")


def test_one_answer_is_no_agreement() -> None:
    assert np.isnan(contradiction_of({"a": np.array([0.5])}, 1)).all()
