"""Reasons of the user's own may raise, hang or answer nonsense: decisions and their words stand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from batuta.agents.guarded_reasons import GuardedReasons
from batuta.agents.understanding.features import FeatureRows
from batuta.streams.adapters.isolation import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Why:
    """Reasons that answer as a test tells them."""

    def __init__(self, codes: Callable[[Any], object], text: Callable[[str], object]) -> None:
        self._codes, self._text = codes, text
        self.texts_asked = 0

    def codes_of(self, features: Mapping[str, float]) -> Any:
        return self._codes(features)

    def text_of(self, code: str) -> Any:
        self.texts_asked += 1
        return self._text(code)


def raising(what: object) -> object:
    raise ZeroDivisionError(what)


def guarded(why: Why) -> tuple[GuardedReasons, list[str]]:
    """Return it with the list of what is reported."""
    told: list[str] = []
    isolation = Threads(lambda part, failure: told.append(f"{part}: {failure!r}"), timeout_s=0.2)
    return GuardedReasons(why, isolation), told


def test_an_event_at_fault_has_no_codes_and_its_neighbours_have_theirs() -> None:
    def codes(features: dict[str, float]) -> object:
        amount = features.pop("amount")
        return ("large",) if amount > 1.0 else raising(amount)

    rows = [{"amount": 5.0}, {"amount": 0.5}, {"amount": 7.0}]
    reasons, told = guarded(Why(codes, str))
    assert reasons.codes_of_each(rows) == [("large",), (), ("large",)]
    assert rows[0] == {"amount": 5.0}, "what is recorded is out of its reach"
    assert told == ["reasons: ZeroDivisionError(0.5)"]


@pytest.mark.parametrize("answer", [None, "large", 7, ("large", 7), ("",), ("x" * 101,), {"large"}])
def test_what_are_no_codes_are_none(answer: object) -> None:
    reasons, told = guarded(Why(lambda _: answer, str))
    assert reasons.codes_of_each([{}]) == [()]
    assert len(told) == 1
    assert "codes_of answered" in told[0]


def test_codes_are_bounded() -> None:
    reasons, told = guarded(Why(lambda _: [f"code_{n}" for n in range(50)], str))
    assert len(reasons.codes_of_each([{}])[0]) == 20
    assert not told


class AllAtOnce(Why):
    """Reasons that know those of all events, as a test tells them, or else of each."""

    def __init__(self, codes_of_all: Callable[[Any], Any]) -> None:
        super().__init__(lambda features: (f"one_{features['amount']:.0f}",), str)
        self.codes_of_all = codes_of_all


ROWS = FeatureRows(("amount", "night"), np.array([[5.0, 0.0], [7.0, 1.0]]))


def test_reasons_of_many_events_are_asked_for_at_once() -> None:
    def codes(columns: dict[str, Any]) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = [
            ("large",) if one > 6.0 else () for one in columns["amount"]
        ]
        columns["amount"][:] = 0.0
        return found

    reasons, told = guarded(AllAtOnce(codes))
    assert [reasons.codes_of_each(ROWS) for _ in range(2)] == [[(), ("large",)]] * 2
    assert ROWS[0] == {"amount": 5.0, "night": 0.0}, "what is recorded is out of its reach"
    assert not told


@pytest.mark.parametrize("answer", [[()], None, [("a",), 7], [{"a"}, ["b"]], ZeroDivisionError()])
def test_what_breaks_for_all_at_once_is_asked_for_one_by_one(answer: object) -> None:
    def codes(_: object) -> object:
        return raising("at once") if isinstance(answer, Exception) else answer

    reasons, told = guarded(AllAtOnce(codes))
    assert reasons.codes_of_each(ROWS) == [("one_5",), ("one_7",)]
    assert len(told) == 1


def test_what_hangs_gives_none_and_is_left_alone_until_it_is_back() -> None:
    gate = threading.Event()
    why = Why(lambda _: gate.wait(60) and ("large",), str)
    reasons, told = guarded(why)
    assert reasons.codes_of_each([{}, {}]) == [(), ()]
    assert reasons.text_of("rule_failed") == "a rule could not be answered, so a person decides"
    assert why.texts_asked == 0, "its thread is not back"
    assert len(told) == 2
    gate.set()


def test_a_text_that_cannot_be_told_is_the_shared_one() -> None:
    texts: tuple[Callable[[str], object], ...] = (raising, lambda _: None)
    for text in texts:
        reasons, told = guarded(Why(lambda _: (), text))
        assert reasons.text_of("odd_code") == "odd code"
        assert len(told) == 1


def test_a_text_is_asked_for_once() -> None:
    why = Why(lambda _: (), lambda code: f"text of {code}")
    reasons, _ = guarded(why)
    assert [reasons.text_of("odd") for _ in range(3)] == ["text of odd"] * 3
    assert why.texts_asked == 1
