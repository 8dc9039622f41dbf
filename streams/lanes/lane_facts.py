"""What can happen to a lane beside its batches."""

from dataclasses import dataclass
from typing import Final

from batuta.streams.telemetry.facts import Scribe

__all__ = ["ConsumerReplaced", "RecordsDeletedUnread", "SnapshotEnded"]

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
