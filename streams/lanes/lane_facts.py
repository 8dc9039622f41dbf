"""What can happen to a lane beside its batches."""

from dataclasses import dataclass

from batuta.streams.telemetry.facts import Scribe

__all__ = ["ConsumerReplaced", "RecordsDeletedUnread"]


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
