"""What waits for people: the cases of each queue, and how old the oldest is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batuta.agents.open_cases import OpenCases
    from batuta.streams.telemetry.facts import Scribe

__all__ = ["CasesWait", "QueuesKnown"]


@dataclass(frozen=True, slots=True)
class QueuesKnown:
    """A pipeline sends its cases to these queues."""

    queues: Iterable[str]

    def tell(self, scribe: Scribe) -> None:
        """Let their metrics start at 0."""
        scribe.meters.review_queues.expect(self.queues)


@dataclass(frozen=True, slots=True)
class CasesWait:
    """So many cases wait in a lane, by queue; none where a queue is not named."""

    partition: int
    waiting: Mapping[str, OpenCases]

    def tell(self, scribe: Scribe) -> None:
        """Take the lane's part of each queue."""
        scribe.meters.review_queues.set(self.partition, self.waiting)
