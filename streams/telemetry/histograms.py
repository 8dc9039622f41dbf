"""Observing a whole batch in a Prometheus histogram: one addition per bucket, not per value.

prometheus_client observes one value at a time, about 1 us each. What is touched of its privates
stands here alone; where a release moves them the values are observed one by one, slower but right,
and `tests/unit/telemetry/test_histograms.py` fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from prometheus_client import Histogram

__all__ = ["PRIVATES", "observe_all"]

#: The attributes of `prometheus_client.Histogram` that a batch is added to.
PRIVATES: Final = ("_buckets", "_sum", "_upper_bounds")


class _Value(Protocol):
    def inc(self, amount: float) -> None: ...


class _Inside(NamedTuple):
    buckets: Sequence[_Value]
    sum: _Value
    upper_bounds: Sequence[float]


def observe_all(histogram: Histogram, values: npt.NDArray[np.float64]) -> None:
    """Observe every value of an array.

    Args:
        histogram: one that has no labels left to be given.
        values: (n,) in the histogram's unit; none of them NaN.
    """
    if values.size == 0:
        return
    inside = _inside(histogram)
    if inside is None:
        for value in values.tolist():
            histogram.observe(value)
        return
    # The first bound that is not below the value, as Histogram.observe finds it.
    places = np.searchsorted(np.asarray(inside.upper_bounds), values, side="left")
    counts = np.bincount(places, minlength=len(inside.buckets))
    assert counts.size == len(inside.buckets), "NaN has no bucket"
    inside.sum.inc(float(values.sum()))
    for place in np.flatnonzero(counts).tolist():
        inside.buckets[place].inc(int(counts[place]))


def _inside(histogram: Histogram) -> _Inside | None:
    if not all(hasattr(histogram, name) for name in PRIVATES):
        return None
    buckets, total, bounds = (cast("object", getattr(histogram, name)) for name in PRIVATES)
    return _Inside(
        cast("Sequence[_Value]", buckets), cast("_Value", total), cast("Sequence[float]", bounds)
    )
