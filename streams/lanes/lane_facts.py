"""What can happen to a lane beside its batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from batuta.agents.state.parking import Kind
from batuta.streams.telemetry.facts import Scribe

__all__ = [
    "ConsumerReplaced",
    "LaneFlows",
    "LaneHeldBack",
    "LanePaused",
    "RecordsDeletedUnread",
    "SnapshotEnded",
]

#: Results of a snapshot that are as they should be; of any other an operator wants to know.
_SNAPSHOT_QUIET: Final = frozenset({"saved", "loaded", "absent"})


@dataclass(frozen=True, slots=True)
class RecordsDeletedUnread:
    """The topic's retention deleted records before this group had read them."""

    topic: str
    partition: int
    offsets: int

    def tell(self, scribe: Scribe) -> None:
        """Call a human: events were lost, or the retention is too short."""
        scribe.log.error(
            "records_deleted_unread",
            topic=self.topic,
            partition=self.partition,
            offsets=self.offsets,
        )


@dataclass(frozen=True, slots=True)
class ConsumerReplaced:
    """A stage's consumer could not go on, and another takes its place."""

    error: Exception

    def tell(self, scribe: Scribe) -> None:
        """Say it sparingly: a broker out of reach brings it again and again."""
        since = scribe.sparing.allow((ConsumerReplaced, type(self.error)))
        if since is not None:
            scribe.log.warning("consumer_replaced", error=str(self.error), count=since)


@dataclass(frozen=True, slots=True)
class LaneHeldBack:
    """A lane took no records, because those in hand were not seen through."""

    duration_s: float

    def tell(self, scribe: Scribe) -> None:
        """Count the time."""
        scribe.meters.backpressure.inc(self.duration_s)


@dataclass(frozen=True, slots=True)
class LanePaused:
    """A lane takes no records for so long that it was paused."""

    partition: int
    idle_s: float

    def tell(self, scribe: Scribe) -> None:
        """Take it into the gauge; say it sparingly: what hangs, hangs in all lanes."""
        scribe.meters.lanes_paused.set(self.partition, 1)
        since = scribe.sparing.allow(LanePaused)
        if since is not None:
            scribe.log.warning(
                "lane_paused", partition=self.partition, idle_s=round(self.idle_s, 1), count=since
            )


@dataclass(frozen=True, slots=True)
class LaneFlows:
    """A lane that was paused takes records again, or has another owner now."""

    partition: int
    idle_s: float

    def tell(self, scribe: Scribe) -> None:
        """Take it out of the gauge and say it."""
        scribe.meters.lanes_paused.drop(self.partition)
        scribe.log.info("lane_flows", partition=self.partition, idle_s=round(self.idle_s, 1))


@dataclass(frozen=True, slots=True)
class SnapshotEnded:
    """A lane's snapshot was saved, loaded, found absent, or refused for a named reason."""

    partition: int
    result: str
    detail: str = ""

    def tell(self, scribe: Scribe) -> None:
        """Count and say it; a refused snapshot costs time alone, the changelog has it all."""
        scribe.meters.snapshots.add(1, self.result)
        say = scribe.log.info if self.result in _SNAPSHOT_QUIET else scribe.log.warning
        say("state_snapshot", partition=self.partition, result=self.result, detail=self.detail)


@dataclass(frozen=True, slots=True)
class StepsParked:
    """So many steps of a lane wait for an answer, by kind."""

    partition: int
    counts: Mapping[Kind, int]
    steps_max: int

    def tell(self, scribe: Scribe) -> None:
        """Take the lane's part of the stage's steps, and how full its lot is."""
        scribe.meters.parked.set(self.partition, self.counts, self.steps_max)
