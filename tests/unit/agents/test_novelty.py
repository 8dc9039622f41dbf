"""Surprise: what never came before is told, once; what came before is familiar."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.maintenance.novelty import (
    QUIET_ROWS,
    WARM_UP_ROWS,
    WIDTH,
    Memory,
    empty_memory,
    surprises,
)

DAY_ROWS = 48


def daily(rows: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return a rhythm of day and night, the same every day but for a little noise."""
    noise = np.random.default_rng(5).normal(0.0, 0.5, rows)
    return 50.0 + 10.0 * np.sin(2 * math.pi * np.arange(rows) / DAY_ROWS) + noise


def told(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    found: list[float] = surprises(empty_memory(), values).tolist()
    return found


def test_a_value_far_from_all_earlier_ones_is_the_most_surprising() -> None:
    values = daily(2_000)
    values[1_500] = 120.0
    found = told(values)
    assert max(range(2_000), key=found.__getitem__) == 1_500
    assert found[1_500] > 2.0 * max(found[:1_500])


def test_a_gap_between_familiar_values_is_seen_as_well() -> None:
    values = np.where(np.arange(2_000) % 2 == 0, 10.0, 90.0)
    values += np.random.default_rng(1).normal(0.0, 1.0, 2_000)
    values[1_700] = 50.0
    found = told(values)
    assert max(range(500, 2_000), key=found.__getitem__) == 1_700


def test_what_came_once_is_familiar_when_it_comes_again() -> None:
    values = daily(4_000)
    values[1_000:1_020] = values[3_000:3_020] = 120.0
    found = told(values)
    assert max(found[2_900:3_100]) < 0.5 * found[1_000]


def test_an_incident_is_told_once() -> None:
    values = daily(2_000)
    values[1_500:1_560] = 120.0
    found = told(values)
    assert found[1_500] > 0.0
    assert all(one == 0.0 or one > found[1_500] for one in found[1_501 : 1_500 + QUIET_ROWS])


def test_the_first_rows_are_only_learnt_from() -> None:
    values = daily(WARM_UP_ROWS)
    values[50] = 1e6
    assert told(values) == [0.0] * WARM_UP_ROWS


@pytest.mark.parametrize("level", [0.0, 20.0, -1e12, 1e-12])
def test_a_flat_series_never_surprises_and_its_first_step_does(level: float) -> None:
    values = np.full(600, level)
    assert told(values) == [0.0] * 600
    values[500] += 1.0 + abs(level) / 10
    assert told(values)[500] > 1.0


VALUES = st.lists(
    st.floats(min_value=-1e300, max_value=1e300) | st.sampled_from([0.0, 1.0, 2.0]),
    min_size=1,
    max_size=400,
)


@given(VALUES, st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_any_values_give_finite_answers_from_the_past_alone_however_cut(
    values: list[float], cut: int
) -> None:
    every = np.array(values * 2)
    whole = surprises(empty_memory(), every)
    assert np.isfinite(whole).all()
    assert (whole >= 0.0).all()
    memory: Memory = empty_memory()
    parts = [surprises(memory, every[:cut]), surprises(memory, every[cut:])]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert memory.shape == (WIDTH,)
    assert surprises(empty_memory(), every[:cut]).tolist() == whole[:cut].tolist()
