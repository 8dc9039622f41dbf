"""What can happen to the lanes of a stage: they come, go, restore, begin again, stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from batuta.streams.telemetry.facts import Scribe

__all__ = [
    "LaneChanged",
    "LaneFailed",
    "LaneRestarted",
    "LaneStatus",
    "Rebalanced",
    "RestoreAdvanced",
    "StateMeasured",
]

LaneStatus = Literal["starting", "restoring", "ready", "retrying", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """The group assigned partitions anew: these lanes came to this worker, those left it.

    Attributes:
        kept: stayed, with producer and state.
    """

    given: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    def tell(self, scribe: Scribe) -> None:
        """Count and say it."""
        scribe.meters.rebalances.inc()
        scribe.log.info(
            "partitions_rebalanced",
            given=list(self.given),
            taken=list(self.taken),
            kept=list(self.kept),
        )


@dataclass(frozen=True, slots=True)
class LaneChanged:
    """A lane came into another state of its life."""

    partition: int
    status: LaneStatus

    def tell(self, scribe: Scribe) -> None:
        """Count lanes by state; a closed lane takes its share of every gauge with it."""
        meters = scribe.meters
        if self.status != "closed":
            meters.lanes.set(self.partition, self.status)
        else:
            meters.lanes.drop(self.partition)
            meters.review_queues.drop(self.partition)
            sums = (meters.lag, meters.state_entries, meters.restore_remaining)
            for gauge in (*sums, meters.parked):
                gauge.drop(self.partition)
        if self.status == "ready":
            meters.restore_remaining.set(self.partition, 0)
        scribe.log.debug("lane_changed", partition=self.partition, status=self.status)


@dataclass(frozen=True, slots=True)
class LaneRestarted:
    """A lane began again after trouble of the outside world."""

    partition: int
    reason: str
    error: BaseException

    def tell(self, scribe: Scribe) -> None:
        """Count and say it."""
        scribe.meters.restarts.add(1, self.reason)
        scribe.log.warning(
            "lane_restarted", partition=self.partition, reason=self.reason, error=str(self.error)
        )


@dataclass(frozen=True, slots=True)
class LaneFailed:
    """A lane stopped on trouble of our own; nothing was acknowledged."""

    partition: int
    error: BaseException

    def tell(self, scribe: Scribe) -> None:
        """Count it, and call a human."""
        scribe.meters.lanes.set(self.partition, "failed")
        scribe.log.error("lane_failed", partition=self.partition, exc_info=self.error)


@dataclass(frozen=True, slots=True)
class StateMeasured:
    """A lane holds so many entries."""

    partition: int
    entries: int

    def tell(self, scribe: Scribe) -> None:
        """Take the lane's part of the stage's entries."""
        scribe.meters.state_entries.set(self.partition, self.entries)


@dataclass(frozen=True, slots=True)
class RestoreAdvanced:
    """A lane has so many changelog records left to read."""

    partition: int
    remaining: int

    def tell(self, scribe: Scribe) -> None:
        """Take the lane's part of what the stage has left."""
        scribe.meters.restore_remaining.set(self.partition, self.remaining)


# Decisions and what follows
