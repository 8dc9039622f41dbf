"""An open loop publishes nothing early, and has no figure where decisions are missing."""

from __future__ import annotations

import numpy as np
import pytest
from latency import Load, due_by, quantiles

LOAD = Load("", "t", warm=0, count=100, rate=1_000.0)


@pytest.mark.parametrize(
    ("elapsed_s", "due"), [(-0.2, 0), (-1e-6, 0), (0.0, 1), (0.0495, 50), (9.0, 100)]
)
def test_events_are_due_from_the_start_on(elapsed_s: float, due: int) -> None:
    assert due_by(elapsed_s, LOAD) == due


def test_ages_of_some_events_are_no_figure_for_all() -> None:
    ages_ms = np.arange(1.0, 101.0)
    assert quantiles(1.0, ages_ms) == [50.5, 99.0, 99.9]
    assert quantiles(0.999, ages_ms) == [None, None, None]
