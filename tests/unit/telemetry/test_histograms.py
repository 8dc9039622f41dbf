"""A batch observed at once leaves the histogram as observing value by value would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from batuta.streams.telemetry import histograms
from batuta.streams.telemetry.histograms import PRIVATES, observe_all

BOUNDS = (0.005, 0.05, 0.5, 1, 30)


def histogram() -> tuple[CollectorRegistry, Histogram]:
    registry = CollectorRegistry()
    family = Histogram("age_seconds", "Age.", ["stage"], registry=registry, buckets=BOUNDS)
    return registry, family.labels("scoring")


def buckets(registry: CollectorRegistry) -> dict[str, float]:
    found = {}
    for line in generate_latest(registry).decode().splitlines():
        if not line.startswith("#") and "created" not in line:
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


@given(
    st.lists(
        st.one_of(st.floats(0, 100, allow_nan=False), st.sampled_from(BOUNDS)),
        max_size=50,
    )
)
def test_a_batch_is_observed_as_its_values_would_be(values: list[float]) -> None:
    at_once, batch = histogram()
    one_by_one, single = histogram()
    observe_all(batch, np.array(values, dtype=np.float64))
    for value in values:
        single.observe(value)
    assert buckets(at_once) == pytest.approx(buckets(one_by_one))


def test_batches_add_up() -> None:
    registry, child = histogram()
    observe_all(child, np.array([0.001, 40.0]))
    observe_all(child, np.array([0.7]))
    assert buckets(registry)['age_seconds_bucket{le="0.005",stage="scoring"}'] == 1
    assert buckets(registry)['age_seconds_bucket{le="1.0",stage="scoring"}'] == 2
    assert buckets(registry)['age_seconds_count{stage="scoring"}'] == 3


def test_nan_is_a_fault_of_ours() -> None:
    _, child = histogram()
    with pytest.raises(AssertionError, match="NaN"):
        observe_all(child, np.array([0.1, np.nan]))


def test_the_private_attributes_are_where_they_were() -> None:
    _, child = histogram()
    assert [name for name in PRIVATES if not hasattr(child, name)] == []


def test_without_them_values_are_observed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histograms, "PRIVATES", ("_moved", "_sum", "_upper_bounds"))
    registry, child = histogram()
    observe_all(child, np.array([0.1, 0.2]))
    assert buckets(registry)['age_seconds_count{stage="scoring"}'] == 2
