"""Batches written and made at once: the same as one by one, whatever the values hold."""

from __future__ import annotations

from itertools import repeat
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.schemas.json_rows import json_rows
from batuta.schemas.rows import rows_of

NUMBERS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats()
JSON = st.recursive(NUMBERS | st.text(), lambda m: st.lists(m) | st.dictionaries(st.text(), m))


class Point(NamedTuple):
    x: int
    y: int = 7


@given(st.lists(JSON, max_size=5), st.integers(1, 60))
def test_json_of_many_is_the_json_of_each(values: list[object], times: int) -> None:
    many = values * times  # more than are written together
    assert json_rows(many) == [orjson.dumps(value) for value in many]


def test_a_value_that_orjson_does_not_write_is_told() -> None:
    with pytest.raises(TypeError):
        json_rows([{}, {"a": 2**70}])


def test_rows_of_columns_are_named_tuples_with_their_defaults() -> None:
    made = rows_of(Point, 2, x=[1, 2])
    assert made == [Point(1), Point(2)]
    assert rows_of(Point, 2, x=[1, 2], y=repeat(0)) == [Point(1, 0), Point(2, 0)]
    assert rows_of(Point, 0, x=repeat(1)) == []
    assert {type(one) for one in made} == {Point}


def test_a_column_that_is_too_short_or_of_no_field_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        rows_of(Point, 2, x=[1])
    with pytest.raises(AssertionError):
        rows_of(Point, 1, x=[1], z=[1])
    with pytest.raises(AssertionError):
        rows_of(Point, 1, y=[1])
