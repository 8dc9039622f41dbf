"""Gauges of review queues: what all lanes of a worker hold of each."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import Gauge

    from batuta.agents.open_cases import OpenCases

__all__ = ["ReviewQueues"]

#: Where cases count of a queue that the pipeline does not name, as it did once.
_OTHER: Final = "other"


class ReviewQueues:
    """How many cases of a pipeline wait in each queue, and how old the oldest is.

    Args:
        open_cases, oldest_s: the gauges, by pipeline and queue.
        pipeline: whose cases they are.
        clock: seconds since 1970 UTC.
    """

    def __init__(
        self,
        open_cases: Gauge,
        oldest_s: Gauge,
        pipeline: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_cases = open_cases
        self._oldest_s = oldest_s
        self._pipeline = pipeline
        self._clock = clock
        self._open: dict[str, Gauge] = {}
        self._of_lane: dict[int, Mapping[str, OpenCases]] = {}

    def expect(self, queues: Iterable[str]) -> None:
        """Let queues start at 0."""
        for queue in queues:
            if queue not in self._open:
                self._open[queue] = self._open_cases.labels(self._pipeline, queue)
                age = self._oldest_s.labels(self._pipeline, queue)
                # It grows while nothing happens: the age is that of the scrape.
                age.set_function(partial(self._age_s, queue))

    def set(self, partition: int, waiting: Mapping[str, OpenCases]) -> None:
        """Take what one lane holds."""
        if any(queue not in self._open for queue in waiting):
            self.expect((_OTHER,))
        self._of_lane[partition] = waiting
        self._show()

    def drop(self, partition: int) -> None:
        """Forget a lane that another worker owns now."""
        if self._of_lane.pop(partition, None) is not None:
            self._show()

    def _show(self) -> None:
        for queue, gauge in self._open.items():
            gauge.set(sum(held.cases for held in self._waiting(queue)))

    def _age_s(self, queue: str) -> float:
        oldest_ms = min((held.oldest_ms for held in self._waiting(queue)), default=None)
        return 0.0 if oldest_ms is None else max(self._clock() - oldest_ms / 1_000, 0.0)

    def _waiting(self, queue: str) -> Iterator[OpenCases]:
        """Yield what each lane holds of a queue."""
        for lane in list(self._of_lane.values()):
            for name, held in lane.items():
                if name == queue or (queue == _OTHER and name not in self._open):
                    yield held
