"""What prometheus_client lacks: counters bounded in their labels, gauges summed over lanes."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from batuta.agents.state.parking import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Counter, Gauge

    from batuta.agents.state.parking import Kind

__all__ = ["BusyShare", "LaneStates", "LaneSum", "ParkedSteps", "Tally"]

_OTHER: Final = "other"
_VALUES_MAX: Final = 64
_LENGTH_MAX: Final = 64


class Tally:
    """A counter by open labels, bounded in how many values it may take.

    Args:
        family: the counter with all its labels.
        fixed: the values of its first labels.
        known: values of the labels left, each starting at 0.
    """

    def __init__(
        self, family: Counter, fixed: tuple[str, ...], known: Iterable[tuple[str, ...]]
    ) -> None:
        self._family = family
        self._fixed = fixed
        self._children = {values: family.labels(*fixed, *values) for values in known}

    def add(self, count: float, *values: str) -> None:
        """Add `count` for these label values."""
        self._child(tuple(value[:_LENGTH_MAX] for value in values)).inc(count)

    def _child(self, values: tuple[str, ...]) -> Counter:
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= _VALUES_MAX:
                values = (_OTHER,) * len(values)
            child = self._children[values] = self._family.labels(*self._fixed, *values)
        return child


class LaneSum:
    """A gauge that sums what each lane of a stage says of itself."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._of_lane: dict[int, int] = {}
        gauge.set(0)

    def set(self, partition: int, value: int) -> None:
        """Take one lane's value."""
        self._of_lane[partition] = value
        self._gauge.set(sum(self._of_lane.values()))

    def drop(self, partition: int) -> None:
        """Forget a lane that another worker owns now."""
        self._of_lane.pop(partition, None)
        self._gauge.set(sum(self._of_lane.values()))


class ParkedSteps:
    """The steps that the lanes of a stage have parked, and how full the fullest lot is.

    Args:
        steps: the gauge of the steps of each kind, with all its labels.
        ratio: the gauge of how full the fullest lot is.
        fixed: the values of their first labels.
    """

    def __init__(self, steps: Gauge, ratio: Gauge, fixed: tuple[str, ...]) -> None:
        self._sums = {kind: LaneSum(steps.labels(*fixed, kind)) for kind in KINDS}
        self._ratio = ratio.labels(*fixed)
        self._of_lane: dict[int, float] = {}
        self._ratio.set(0)

    def set(self, partition: int, counts: Mapping[Kind, int], steps_max: int) -> None:
        """Take what one lane has parked."""
        for kind, count in counts.items():
            self._sums[kind].set(partition, count)
        self._of_lane[partition] = sum(counts.values()) / steps_max
        self._ratio.set(max(self._of_lane.values()))

    def drop(self, partition: int) -> None:
        """Forget a lane that another worker owns now."""
        for gauge in self._sums.values():
            gauge.drop(partition)
        self._of_lane.pop(partition, None)
        self._ratio.set(max(self._of_lane.values(), default=0))


class LaneStates:
    """How many lanes of a stage are in each state."""

    def __init__(self, family: Gauge, fixed: tuple[str, ...], states: Iterable[str]) -> None:
        self._gauges = {state: family.labels(*fixed, state) for state in states}
        self._of_lane: dict[int, str] = {}

    def set(self, partition: int, state: str) -> None:
        """Move a lane to `state`."""
        assert state in self._gauges, state
        self.drop(partition)
        self._of_lane[partition] = state
        self._gauges[state].inc()

    def drop(self, partition: int) -> None:
        """Forget a lane."""
        former = self._of_lane.pop(partition, None)
        if former is not None:
            self._gauges[former].dec()

    def count(self) -> int:
        """Return how many lanes there are."""
        return len(self._of_lane)


class BusyShare:
    """The share of time a stage's lanes had a batch in hand, over the last ten seconds or so.

    Args:
        lanes: how many lanes share the work now.
        clock: seconds from any start, never going back.
    """

    _WINDOW_S: Final = 10.0
    _STEP_S: Final = 1.0

    def __init__(
        self, lanes: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._busy_s = 0.0
        self._marks = deque([(clock(), 0.0)])

    def add(self, duration_s: float) -> None:
        """Count the time one batch took."""
        self._busy_s += duration_s

    def ratio(self) -> float:
        """Return the share, 0 to 1."""
        now = self._clock()
        while len(self._marks) > 1 and self._marks[1][0] <= now - self._WINDOW_S:
            self._marks.popleft()
        since, before_s = self._marks[0]
        if now - self._marks[-1][0] >= self._STEP_S:
            self._marks.append((now, self._busy_s))
        available_s = (now - since) * self._lanes()
        return min(1.0, (self._busy_s - before_s) / available_s) if available_s > 0 else 0.0
