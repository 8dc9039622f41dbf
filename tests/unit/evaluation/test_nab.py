"""The benchmark's score, worked out by hand on small corpora."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.evaluation.nab import PROFILES, Series, nab_score, probation_rows

if TYPE_CHECKING:
    from batuta.agents.evaluation.ranking import Numbers

STANDARD, LOW_FP, LOW_FN = PROFILES["standard"], PROFILES["low_fp"], PROFILES["low_fn"]
ROWS = 100
#: Fifteen rows of probation, then one window of ten.
ONE = Series("one", ROWS, ((50, 59),))


def sigmoid(place: float) -> float:
    return 2 / (1 + math.exp(5 * place)) - 1


def alarms(**scores: float) -> dict[str, Numbers]:
    """Return the scores of `one`, 0 but for the rows named `r50=0.9`."""
    every = np.zeros(ROWS)
    for row, score in scores.items():
        every[int(row[1:])] = score
    return {"one": every}


def test_silence_is_worth_nothing_and_the_windows_first_row_everything() -> None:
    assert nab_score((ONE,), alarms(), STANDARD, threshold=0.5).score == 0.0
    assert nab_score((ONE,), alarms(r50=1.0), STANDARD).score == 100.0


def test_the_best_row_of_a_window_counts_once() -> None:
    late = sigmoid(-1 / 10) / sigmoid(-1.0)
    found = nab_score((ONE,), alarms(r59=1.0), STANDARD, threshold=0.5)
    assert found.score == pytest.approx(100 * (late + 1) / 2)
    both = nab_score((ONE,), alarms(r59=1.0, r50=0.9), STANDARD, threshold=0.5)
    assert (both.score, both.windows_found) == (pytest.approx(100.0), 1)


@pytest.mark.parametrize(
    ("row", "cost"),
    [
        (49, 1.0),  # before the first window
        (60, -sigmoid(1 / 9)),  # just behind it: nearly nothing
        (86, -sigmoid(3.0)),
        (87, 1.0),  # beyond three lengths
    ],
)
def test_a_false_alarm_costs_by_its_distance_behind_a_window(row: int, cost: float) -> None:
    scores = alarms(r50=1.0, **{f"r{row}": 0.9})
    for profile in (STANDARD, LOW_FP):
        found = nab_score((ONE,), scores, profile, threshold=0.5)
        assert found.score == pytest.approx(100 * (2 - profile.false_alarm * cost) / 2)
        assert found.false_alarms == 1


def test_missing_less_counts_more_where_misses_are_dear() -> None:
    two = Series("one", ROWS, ((50, 59), (80, 89)))
    found = nab_score((two,), alarms(r50=1.0), LOW_FN)
    assert found.score == pytest.approx(100 * 3 / 6)


def test_probation_is_never_scored() -> None:
    assert probation_rows(ROWS) == 15
    assert nab_score((ONE,), alarms(r14=1.0), STANDARD, threshold=0.5).false_alarms == 0
    assert nab_score((ONE,), alarms(r15=1.0), STANDARD, threshold=0.5).false_alarms == 1


def test_one_threshold_serves_all_series_and_is_the_best_there_is() -> None:
    other = Series("other", ROWS)
    scores = {**alarms(r50=0.8), "other": np.zeros(ROWS)}
    scores["other"][20:40] = 0.9
    below = nab_score((ONE, other), scores, STANDARD, threshold=0.5)
    assert below.score == pytest.approx(100 * (2 - 20 * 0.11) / 2)
    best = nab_score((ONE, other), scores, STANDARD)
    assert (best.score, best.threshold, best.windows_found) == (0.0, math.inf, 0)
    scores["other"][22:40] = 0.0
    found = nab_score((ONE, other), scores, STANDARD)
    assert (found.threshold, found.false_alarms) == (0.8, 2)
    assert found.score == pytest.approx(100 * (2 - 0.22) / 2)
