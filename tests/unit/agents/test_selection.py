"""Choices: by rules and weights, repeatable, with the propensity they were made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Column, Names
from batuta.agents.selection.choosing import Narrowing, Weighted
from batuta.schemas.ingested import Ingested

if TYPE_CHECKING:
    from batuta.agents.models.answers import Scores
    from batuta.agents.policy.names import Flags

LARGE = Expression("amount > 220.0", Names({"amount": "double"}), ("bool",))


def events(count: int) -> list[Ingested]:
    return [Ingested(f"e{n}", "c", "t", 0, 0, "default", {}, {}) for n in range(count)]


def chooser(identity: str = "fraud@1") -> Weighted:
    weights = {"fast": 8.0, "deep": 2.0, "both": 0.0}
    return Weighted(identity, weights, [Narrowing(LARGE, ("deep",))])


def rows(chosen: list[Ingested], amounts: Scores, missing: Flags | None = None) -> EventRows:
    found = EventRows(chosen, {})
    found.give("amount", Column(amounts, missing))
    return found


def test_weights_are_kept_and_choices_repeat() -> None:
    given = events(10_000)
    quiet = rows(given, np.zeros(len(given)))
    choices = chooser().choose(given, quiet)
    assert 0.78 < np.mean([choice.plan == "fast" for choice in choices]) < 0.82
    assert {choice.propensity for choice in choices} == {0.8, 0.2}
    assert choices == chooser().choose(given, quiet)
    assert choices != chooser("fraud@2").choose(given, quiet)


def test_a_rule_narrows_and_one_that_cannot_be_answered_takes_the_first_plan() -> None:
    given = events(3)
    missing = np.array([False, False, True])
    choices = chooser().choose(given, rows(given, np.array([300.0, 1.0, 0.0]), missing))
    assert (choices[0].plan, choices[0].propensity, choices[0].by) == ("deep", 1.0, "rules")
    assert choices[0].reason == "amount > 220.0 holds"
    assert choices[1].candidates == {"fast": 0.8, "deep": 0.2, "both": 0.0}
    assert (choices[2].plan, choices[2].reason) == ("fast", "a rule could not be answered")


def test_a_plan_that_weighs_nothing_is_not_fallen_back_on() -> None:
    given = events(1)
    off = Weighted("fraud@1", {"fast": 0.0, "deep": 1.0}, [Narrowing(LARGE, ("deep",))])
    (choice,) = off.choose(given, rows(given, np.zeros(1), np.array([True])))
    assert (choice.plan, choice.propensity) == ("deep", 1.0)
