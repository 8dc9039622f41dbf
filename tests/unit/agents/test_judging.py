"""Rules decide; whatever cannot be told is decided by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.judging import SCORE_UNKNOWN, Deciding, Judge, Verified
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Names
from batuta.agents.understanding.isolation import Direct
from batuta.agents.understanding.part_steps import PartStep
from batuta.agents.understanding.steps import ExpressionStep, Surroundings, Understanding
from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline_rules import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.agents.policy.names import Kind
    from batuta.agents.understanding.features import Features

FIELDS: Mapping[str, Kind] = {"weight": "double", "office": "string"}
KINDS: Mapping[str, Kind] = {**FIELDS, "heavy": "bool", "score": "double", "senders": "double"}
NAMES = Names(KINDS, frozenset({"weight", "office", "notes"}))
HEAVY = ExpressionStep("heavy", Expression("weight > 20.0", Names(FIELDS), ("bool",)))
RULES = (
    Rule(when="score > 0.9 && heavy", outcome="block", reason="heavy", action="hold"),
    Rule(when="event.notes == 'odd'", outcome="review", reason="odd"),
    Rule(outcome="approve", reason="fine"),
)


def letter(**data: object) -> Ingested:
    return Ingested("l1", "s1", "o1", 1_000, 0, "default", data, {})


def judged(
    events: Sequence[Ingested],
    scores: Sequence[float],
    rules: Sequence[Rule] = RULES,
) -> list[tuple[str, str, str | None]]:
    """Return outcome, reason and action of each."""
    understanding = Understanding(FIELDS, steps=(HEAVY,))
    judge = Judge(rules, Deciding(understanding, NAMES), ("senders",))
    windows = {"senders": np.zeros(len(events))}
    features = understanding.complete(events, windows).matrix(judge.columns)
    usable = np.ones(len(events), np.bool_)
    told = judge.judge(events, features, Verified(np.array(scores), usable, "unusable"))
    actions = [rule and rule.action for rule in told.rules]
    return list(zip(told.outcomes, told.reasons, actions, strict=True))


def test_the_first_rule_that_holds_decides_and_names_its_action() -> None:
    events = [letter(weight=21.0, notes="odd"), letter(weight=1.0, notes="odd"), letter(weight=1.0)]
    told = judged(events, [0.95, 0.95, 0.95], (RULES[0], RULES[2]))
    assert told == [
        ("block", "heavy", "hold"),
        ("approve", "fine", None),
        ("approve", "fine", None),
    ]
    assert judged(events[1:2], [0.95]) == [("review", "odd", None)]


def test_a_rule_that_cannot_be_answered_never_approves() -> None:
    """An event without notes fails the second rule; one that the first decides is not touched."""
    told = judged([letter(weight=1.0), letter(weight=21.0)], [0.1, 0.95])
    assert told == [("review", "rule_failed", None), ("block", "heavy", "hold")]


def test_a_feature_that_cannot_be_told_never_approves() -> None:
    told = judged([letter(office="o1", notes="")], [0.1])
    assert told == [("review", "feature_failed", None)]


def test_without_a_usable_score_no_rule_is_heard() -> None:
    judge = Judge(RULES[2:], Deciding(), ())
    verified = Verified.unusable(1, "model_failed")
    told = judge.judge([letter()], np.empty((1, 0)), verified)
    assert told == ([SCORE_UNKNOWN], ["review"], ["model_failed"], [None])


@pytest.mark.parametrize(
    "answer", [ZeroDivisionError(), np.zeros(2), np.zeros((2, 2)), np.full((2, 1), np.nan), "text"]
)
def test_a_part_that_breaks_is_told_of_and_its_events_are_known(answer: object) -> None:
    class Part:
        names: tuple[str, ...] = ("ratio",)

        def compute(self, events: Sequence[Ingested]) -> Features:
            del events
            if isinstance(answer, Exception):
                raise answer
            return np.asarray(answer)

    told: list[Exception] = []

    class Hearing(Direct):
        def report(self, part: str, failure: Exception) -> None:
            del part
            told.append(failure)

    understanding = Understanding(FIELDS, steps=(PartStep(Part()), HEAVY))
    events = [letter(weight=21.0), letter(weight=1.0)]
    understood = understanding.complete(events, {}, Surroundings(Hearing()))
    assert understood.failed.tolist() == [True, True]
    assert understood.matrix(("heavy",)).tolist() == [[1.0], [0.0]]
    assert len(told) == (0 if isinstance(answer, np.ndarray) and answer.shape == (2, 1) else 1)
