"""One transactional id: its states, by the names of Apache Kafka's, and how it is noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from batuta.streams.broker.journal_entries import TransactionKept

if TYPE_CHECKING:
    from batuta.streams.broker.clock import Alarm
    from batuta.streams.broker.group import PartitionKey

__all__ = ["Transaction", "TransactionState"]


class TransactionState(StrEnum):
    """Where a transaction is; what is prepared is decided, whatever happens then."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMMITTED = "CompleteCommit"
    ABORTED = "CompleteAbort"

    @property
    def is_prepared(self) -> bool:
        """Whether it is decided, and markers are still to be written."""
        return self in {TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT}


@dataclass(slots=True)
class Transaction:
    """What is known of one transactional id.

    Attributes:
        since_ms: when its transaction began.
        unmarked: partitions that wait for the marker of a prepared transaction.
        alarm: what happens when its time is over, or when a marker is to be tried again.
    """

    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    since_ms: int = 0
    partitions: frozenset[PartitionKey] = frozenset()
    groups: frozenset[str] = frozenset()
    unmarked: set[PartitionKey] = field(default_factory=set["PartitionKey"])
    alarm: Alarm | None = None

    def set_alarm(self, alarm: Alarm | None) -> None:
        """Replace the alarm."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = alarm

    def entry(self) -> TransactionKept:
        """What is to be noted of it."""
        return TransactionKept(
            self.transactional_id,
            self.producer_id,
            self.epoch,
            self.timeout_ms,
            self.state,
            self.since_ms,
            sorted(self.partitions),
            sorted(self.groups),
        )

    @classmethod
    def from_entry(cls, kept: TransactionKept) -> Transaction:
        """The transaction that was noted."""
        return cls(
            kept.transactional_id,
            kept.producer_id,
            kept.epoch,
            kept.timeout_ms,
            TransactionState(kept.state),
            kept.since_ms,
            frozenset((name, number) for name, number in kept.partitions),
            frozenset(kept.groups),
        )
