"""One partition: its batches, its producers, and which transactions are open or were aborted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batuta.streams.broker.batches import (
    BatchHeader,
    control_batch,
    first_record_at_or_after,
    with_base_offset,
)
from batuta.streams.broker.codes import Code
from batuta.streams.broker.producers import ProducerStates
from batuta.streams.broker.storage import MemoryStorage, StoredBatch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AbortedSpan", "PartitionLog", "TimedOffset"]


@dataclass(frozen=True, slots=True)
class AbortedSpan:
    """The offsets of one aborted transaction: its first record to its marker."""

    producer_id: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class TimedOffset:
    """An offset found by time."""

    offset: int
    timestamp_ms: int


class PartitionLog:
    """An ordered log of record batches.

    The high watermark is the end: there is one replica. The last stable offset is where the
    earliest open transaction starts.
    """

    def __init__(self) -> None:
        self.start_offset = 0
        self.end_offset = 0
        self.producers = ProducerStates()
        self._storage = MemoryStorage()
        self._open: dict[int, int] = {}
        self._aborted: list[AbortedSpan] = []
        self._watchers: dict[object, Callable[[], None]] = {}

    @property
    def last_stable_offset(self) -> int:
        """Where a read_committed reader stops."""
        return min(self._open.values(), default=self.end_offset)

    def has_open_transaction(self, producer_id: int) -> bool:
        """Whether records of an unfinished transaction of this producer are here."""
        return producer_id in self._open

    def append(self, data: bytes, header: BatchHeader) -> int:
        """Append one batch that has been checked.

        Returns:
            The offset of its first record.
        """
        base = self._append(data, header.last_offset_delta + 1, header.max_timestamp_ms)
        self.producers.remember(header, base)
        if header.is_transactional:
            self._open.setdefault(header.producer_id, base)
        self._notify()
        return base

    def end_transaction(
        self, producer_id: int, epoch: int, *, commit: bool, timestamp_ms: int
    ) -> None:
        """Write a transaction's marker, which occupies an offset, and let readers past it."""
        marker = control_batch(producer_id, epoch, commit=commit, timestamp_ms=timestamp_ms)
        last = self._append(marker, 1, timestamp_ms)
        first = self._open.pop(producer_id, None)
        if first is not None and not commit:
            self._aborted.append(AbortedSpan(producer_id, first, last))
        self.producers.fence(producer_id, epoch)
        self._notify()

    def read(
        self, offset: int, limit_offset: int, max_bytes: int, *, at_least_one: bool
    ) -> list[StoredBatch]:
        """Read whole batches from `offset` on, none that starts at or after the limit."""
        return self._storage.read(offset, limit_offset, max_bytes, at_least_one=at_least_one)

    def aborted_between(self, first: int, end: int) -> tuple[AbortedSpan, ...]:
        """The aborted transactions a reader of [first, end) must skip."""
        return tuple(a for a in self._aborted if a.last_offset >= first and a.first_offset < end)

    def find_by_time(self, timestamp_ms: int) -> TimedOffset | None:
        """The first record as late as asked."""
        batch = self._storage.first_at_or_after(timestamp_ms, self.start_offset)
        if batch is None:
            return None
        found = first_record_at_or_after(batch.data, timestamp_ms)
        return None if found is None else TimedOffset(*found)

    def find_latest(self) -> TimedOffset | None:
        """The record with the greatest timestamp."""
        batch = self._storage.latest()
        return None if batch is None else self.find_by_time(batch.max_timestamp_ms)

    def delete_before(self, offset: int) -> Code:
        """Let the log start later; -1 means at its end."""
        target = self.end_offset if offset == -1 else offset
        if not self.start_offset <= target <= self.end_offset:
            return Code.OFFSET_OUT_OF_RANGE
        self.start_offset = target
        self._storage.drop_before(target)
        self._aborted = [a for a in self._aborted if a.last_offset >= target]
        return Code.NONE

    def watch(self, watcher: object, call: Callable[[], None]) -> None:
        """Call `call` whenever there may be more to read, until `unwatch`."""
        self._watchers[watcher] = call

    def unwatch(self, watcher: object) -> None:
        """End a watch."""
        self._watchers.pop(watcher, None)

    def close(self) -> None:
        """Wake everybody who waits: the topic is gone."""
        self._notify()

    def _append(self, data: bytes, offsets: int, max_timestamp_ms: int) -> int:
        base = self.end_offset
        self.end_offset = base + offsets
        placed = with_base_offset(data, base)
        self._storage.append(StoredBatch(base, self.end_offset - 1, max_timestamp_ms, placed))
        return base

    def _notify(self) -> None:
        for call in tuple(self._watchers.values()):
            call()
