"""Expressions are refused before they run, and answer alike as arrays and by CEL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batuta.agents.policy.expressions import Expression, ExpressionError
from batuta.agents.policy.names import Column, Names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batuta.agents.policy.names import Kind

KINDS: Mapping[str, Kind] = {
    "score": "double",
    "amount": "double",
    "lat": "double",
    "count": "int",
    "large": "bool",
    "channel": "string",
    "at": "timestamp",
}
DTYPES = {
    "double": np.float64,
    "int": np.int64,
    "bool": np.bool_,
    "string": np.object_,
    "timestamp": np.int64,
}
BLANKS = {"double": 0.0, "int": 0, "bool": False, "string": "", "timestamp": 0}
MADRID = Names(
    KINDS, frozenset({"lat", "channel", "tags"}), ZoneInfo("Europe/Madrid"), {"card": ("card_1d",)}
)
UTC = Names(KINDS, frozenset({"lat", "channel", "tags"}))
ANY: tuple[Kind, ...] = ("bool", "int", "double", "string")


@dataclass
class Table:
    """Rows from dicts; a name that a row lacks is missing there."""

    events: list[dict[str, object]]

    def __len__(self) -> int:
        return len(self.events)

    def column(self, name: str) -> Column:
        kind = KINDS[name]
        missing = np.array([name not in event for event in self.events], np.bool_)
        values = np.array([event.get(name, BLANKS[kind]) for event in self.events], DTYPES[kind])
        return Column(values, missing if missing.any() else None)

    def payload(self, row: int) -> Mapping[str, object]:
        return self.events[row]


def told(column: Column) -> list[object]:
    """Return each row's answer, `...` where there is none."""
    missing = column.missing.tolist() if column.missing is not None else [False] * 10**4
    values: list[object] = column.values.tolist()
    return [... if gone else value for value, gone in zip(values, missing, strict=False)]


def answers(text: str, *events: dict[str, object], names: Names = UTC) -> list[object]:
    return told(Expression(text, names, ANY).answer(Table(list(events))))


@pytest.mark.parametrize(
    ("text", "event", "answer"),
    [
        ("score > 0.5 && amount < 10.0", {"score": 0.6, "amount": 9.0}, True),
        ("score != score", {"score": math.nan}, True),
        ("score > 0.0 || score <= 0.0", {"score": math.nan}, False),
        ("amount / score > 1e300", {"amount": 1.0, "score": 0.0}, True),
        ("lat > 60.0", {}, ...),
        ("lat > 60.0 && score > 0.5", {"score": 0.1}, False),
        ("score > 0.5 || lat > 60.0", {"score": 0.9}, True),
        ("score > 0.5 || lat > 60.0", {"score": 0.1}, ...),
        ("has(event.lat) && lat > 60.0", {}, False),
        ("large ? score : amount", {"large": True, "score": 0.5}, 0.5),
        ("large ? score : amount", {"large": False, "score": 0.5}, ...),
        ("channel == 'pos'", {"channel": "pos"}, True),
        ("channel in ['pos', 'online']", {"channel": "atm"}, False),
        ("channel.startsWith('p')", {"channel": "pos"}, True),
        ("count / 0 == 1", {"count": 1}, ...),
        ("count + 9223372036854775807 > 0", {"count": 1}, ...),
        ("event.tags.size() > 1", {"tags": ["a", "b"]}, True),
        ("event.tags > 1.0", {"tags": "a"}, ...),
        ("1.5", {}, 1.5),
    ],
)
def test_an_answer_is_cels(text: str, event: dict[str, object], answer: object) -> None:
    assert answers(text, event) == [answer]
    by_cel = Expression(text, UTC, ANY).answer_by_cel(Table([event]))
    assert told(by_cel) == [answer]


def test_hours_and_weekdays_are_the_zones() -> None:
    sunday_2330_utc: dict[str, object] = {"at": 1_795_390_200_000}
    assert answers("hour(at)", sunday_2330_utc) == [23]
    assert answers("weekday(at)", sunday_2330_utc) == [6]
    assert answers("hour(at)", sunday_2330_utc, names=MADRID) == [0]
    assert answers("weekday(at)", sunday_2330_utc, names=MADRID) == [0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scroe > 0.5", 'scroe is no name here; did you mean "score"?'),
        ("score > 1", "write the number on the right with a point, 1.0 not 1"),
        ("1 < score", "write the number on the left with a point"),
        ("score > 'x'", "> does not take (double, string), at character 7; make both sides"),
        ("score > 0.5 and large", "it does not parse at character 13; write && for and"),
        ("score = 0.5", "== for equal"),
        ("score", "its answer is a number; write one that answers true or false"),
        ("card > 1.0", "card is a group of features; name one of them: card_1d"),
        ("tags > 1.0", "the field tags is no number, text, moment or truth; write event.tags"),
        ("event.lta > 1.0", 'lta is not a field of the event; did you mean "lat"?'),
        ("[1.0].exists(x, x > score)", "it loops (all, exists, map, filter); a rule may not"),
        ("(" * 60 + "large" + ")" * 60, "it is nested too deeply; name parts of it in context"),
        ("score + " * 30 + "score > 0.5", "it is nested more than 24 deep"),
        ("large || " * 200 + "large", "more than 1000 characters"),
        ("hour(score) > 1", "hour does not take (double), at character 5"),
        ("count > 9223372036854775808", "invalid int literal, at character 9"),
        ("hours(at) > 1", 'hours is no name here; did you mean "hour"?'),
    ],
)
def test_a_wrong_expression_is_refused_with_its_remedy(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        Expression(text, MADRID, ("bool",))
    assert said in str(refused.value)


DOUBLES = st.sampled_from(["score", "amount", "lat", "0.0", "-1.5", "1e308", "double(count)"])
NUMBERS = st.recursive(
    DOUBLES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("(-{})".format, inner),
        st.builds("(large ? {} : {})".format, inner, inner),
    ),
    max_leaves=5,
)
COMPARED = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
RULES = st.recursive(
    st.one_of(
        st.builds("{} {} {}".format, NUMBERS, COMPARED, NUMBERS),
        st.builds("count {} {}".format, COMPARED, st.integers(-3, 3)),
        st.builds("hour(at) {} {}".format, COMPARED, st.integers(0, 23)),
        st.builds("weekday(at) in [{}, {}]".format, st.integers(0, 6), st.integers(0, 6)),
        st.sampled_from(["large", "has(event.lat)", "channel == 'pos'", "channel != 'x'"]),
        st.just("amount in [0.0, -1.5]"),
    ),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)
SOME_DOUBLES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.5, math.nan, math.inf, -math.inf, 1e308]), st.floats()
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "score": SOME_DOUBLES,
        "amount": SOME_DOUBLES,
        "lat": SOME_DOUBLES,
        "count": st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
        "large": st.booleans(),
        "channel": st.sampled_from(["pos", "x", ""]),
        "at": st.integers(-(10**12), 4 * 10**12),
    },
)


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


@settings(max_examples=400, deadline=None)
@given(
    text=RULES,
    events=st.lists(EVENTS, min_size=1, max_size=6),
    names=st.sampled_from([UTC, MADRID]),
)
@example(text="(lat > 0.0 && large)", events=[{"large": False}, {"large": True}], names=UTC)
@example(text="hour(at) == 2", events=[{"at": 1_792_886_400_000}], names=MADRID)
def test_array_code_answers_as_cel_does(
    text: str, events: list[dict[str, object]], names: Names
) -> None:
    expression = Expression(text, names, ("bool",))
    assert expression.as_arrays
    rows = Table(events)
    assert told(expression.answer(rows)) == told(expression.answer_by_cel(rows))


@settings(max_examples=200, deadline=None)
@given(text=NUMBERS, events=st.lists(EVENTS, min_size=1, max_size=6))
def test_arithmetic_in_arrays_is_cels(text: str, events: list[dict[str, object]]) -> None:
    expression = Expression(text, UTC, ("double",))
    assert expression.as_arrays
    rows = Table(events)
    pairs = zip(told(expression.answer(rows)), told(expression.answer_by_cel(rows)), strict=True)
    assert all(same(one, other) for one, other in pairs)
