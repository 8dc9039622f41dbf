"""One partition: its batches, its producers, and which transactions are open or were aborted."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from batuta.streams.broker.batches import (
    BatchHeader,
    control_batch,
    first_record_at_or_after,
    marker_commits,
    read_header,
    with_base_offset,
)
from batuta.streams.broker.codes import Code
from batuta.streams.broker.log_checkpoint import (
    CHECKPOINT,
    AbortedSpan,
    LogCheckpoint,
    read_checkpoint,
    write_checkpoint,
)
from batuta.streams.broker.log_recovery import LogRecovery, RecoveryReport
from batuta.streams.broker.producers import ProducerStates
from batuta.streams.broker.segment import Place
from batuta.streams.broker.segment_scan import CorruptFileError
from batuta.streams.broker.storage import Chunk, SegmentedStorage, SegmentLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.disk import Disk

__all__ = ["PartitionLog", "TimedOffset"]


@dataclass(frozen=True, slots=True)
class TimedOffset:
    """An offset found by time."""

    offset: int
    timestamp_ms: int


class PartitionLog:
    """An ordered log of record batches.

    The high watermark is the end: there is one replica. The last stable offset is where the
    earliest open transaction starts. What an append returned from is with the operating system;
    one that raised DiskError left nothing behind.
    """

    def __init__(self, disk: Disk, folder: str, limits: SegmentLimits, clock: Clock) -> None:
        self.start_offset = 0
        self.end_offset = 0
        self.producers = ProducerStates()
        self.storage = SegmentedStorage(disk, folder, limits)
        self._clock = clock
        self._open: dict[int, int] = {}
        self._aborted: list[AbortedSpan] = []
        self._watchers: dict[object, Callable[[], None]] = {}

    @property
    def last_stable_offset(self) -> int:
        """Where a read_committed reader stops."""
        return min(self._open.values(), default=self.end_offset)

    @property
    def aborted(self) -> tuple[AbortedSpan, ...]:
        """The aborted transactions of which something may still be here."""
        return tuple(self._aborted)

    def has_open_transaction(self, producer_id: int) -> bool:
        """Whether records of an unfinished transaction of this producer are here."""
        return producer_id in self._open

    def open_producers(self) -> list[tuple[int, int]]:
        """Producer id and epoch of each transaction that has records here and no marker yet."""
        return [(producer_id, self.producers.epoch_of(producer_id)) for producer_id in self._open]

    def restore(self, report: RecoveryReport, *, salvage: bool) -> None:
        """Read back what an earlier broker left.

        Args:
            report: what had to be repaired is noted there.
            salvage: whether damage is set aside instead of refused.

        Raises:
            CorruptFileError: something acknowledged is damaged or missing.
        """
        storage, known = self.storage, self._read_checkpoint(report, salvage=salvage)
        self.start_offset = known.start_offset
        self.producers.load(known.producers)
        self._open = dict(known.open)
        self._aborted = [AbortedSpan(*span) for span in known.aborted]

        markers: set[int] = set()

        def see(header: BatchHeader, data: bytes) -> None:
            if header.is_control:
                markers.add(header.base_offset)
            if header.base_offset >= known.end_offset:
                self._note(header, data, header.base_offset)

        expected = (known.start_offset, known.end_offset)
        recovery = LogRecovery(storage.disk, storage.folder, expected, see, report, salvage)
        storage.load(recovery.segments())
        if storage.segments:
            self.end_offset = storage.segments[-1].end_offset
        self._aborted = [span for span in self._aborted if span.last_offset in markers]

    def append(self, data: bytes, header: BatchHeader) -> int:
        """Append one batch that has been checked.

        Returns:
            The offset of its first record.

        Raises:
            DiskError: it could not be written, and is not there.
        """
        base = self._append(data, header.last_offset_delta + 1, header.max_timestamp_ms)
        self._note(header, data, base)
        self._notify()
        return base

    def end_transaction(
        self, producer_id: int, epoch: int, *, commit: bool, timestamp_ms: int
    ) -> None:
        """Write a transaction's marker, which occupies an offset, and let readers past it.

        Raises:
            DiskError: it could not be written; the transaction is open as before.
        """
        marker = control_batch(producer_id, epoch, commit=commit, timestamp_ms=timestamp_ms)
        base = self._append(marker, 1, timestamp_ms)
        self._note(read_header(marker), marker, base)
        self._notify()

    def read(self, offset: int, limit_offset: int, max_bytes: int, *, at_least_one: bool) -> Chunk:
        """Read whole batches from `offset` on, none that starts at or after the limit."""
        return self.storage.read(offset, limit_offset, max_bytes, at_least_one=at_least_one)

    def aborted_between(self, first: int, end: int) -> tuple[AbortedSpan, ...]:
        """The aborted transactions a reader of [first, end) must skip."""
        return tuple(a for a in self._aborted if a.last_offset >= first and a.first_offset < end)

    def find_by_time(self, timestamp_ms: int) -> TimedOffset | None:
        """The first record as late as asked."""
        batch = self.storage.first_at_or_after(timestamp_ms, self.start_offset)
        found = None if batch is None else first_record_at_or_after(batch, timestamp_ms)
        return None if found is None else TimedOffset(*found)

    def find_latest(self) -> TimedOffset | None:
        """The record with the greatest timestamp."""
        latest = self.storage.latest_timestamp_ms(self.start_offset)
        return None if latest is None else self.find_by_time(latest)

    def delete_before(self, offset: int) -> Code:
        """Let the log start later; -1 means at its end.

        Raises:
            DiskError: it could not be noted.
        """
        target = self.end_offset if offset == -1 else offset
        if not self.start_offset <= target <= self.end_offset:
            return Code.OFFSET_OUT_OF_RANGE
        before, self.start_offset = self.start_offset, target
        try:
            self.checkpoint()
        except BaseException:
            self.start_offset = before
            raise
        self.storage.drop_before(target)
        self._aborted = [a for a in self._aborted if a.last_offset >= target]
        return Code.NONE

    def forget_markers(self, offsets: AbstractSet[int]) -> None:
        """Drop aborted transactions whose markers were removed.

        A reader that is told of one and finds no marker would skip what its producer wrote later.
        """
        self._aborted = [a for a in self._aborted if a.last_offset not in offsets]

    def checkpoint(self) -> None:
        """Note durably what batches alone will not tell once some of them are removed.

        Raises:
            DiskError: the system refuses; the last checkpoint stands.
        """
        self.storage.sync()
        known = LogCheckpoint(
            self.start_offset,
            self.end_offset,
            self.producers.dump(),
            list(self._open.items()),
            [astuple(span) for span in self._aborted],
        )
        write_checkpoint(self.storage.disk, self.storage.folder, known)

    def watch(self, watcher: object, call: Callable[[], None]) -> None:
        """Call `call` whenever there may be more to read, until `unwatch`."""
        self._watchers[watcher] = call

    def unwatch(self, watcher: object) -> None:
        """End a watch."""
        self._watchers.pop(watcher, None)

    def close(self) -> None:
        """Wake everybody who waits: the topic is gone."""
        self._notify()

    def _read_checkpoint(self, report: RecoveryReport, *, salvage: bool) -> LogCheckpoint:
        disk, folder = self.storage.disk, self.storage.folder
        try:
            return read_checkpoint(disk, folder)
        except ValueError as error:
            path = f"{folder}/{CHECKPOINT}"
            if not salvage:
                raise CorruptFileError(path, 0, f"this checkpoint is damaged: {error}") from error
            report.salvaged.append(path)
            disk.rename(path, f"{path}.damaged")
            return LogCheckpoint()

    def _append(self, data: bytes, offsets: int, max_timestamp_ms: int) -> int:
        base = self.end_offset
        place = Place(base, base + offsets - 1, max_timestamp_ms)
        self.storage.append(place, with_base_offset(data, base), self._clock.wall_ms())
        self.end_offset = base + offsets
        return base

    def _note(self, header: BatchHeader, data: bytes, base: int) -> None:
        """Learn what a batch says of its producer, when it is appended and when it is read back."""
        producer_id = header.producer_id
        if not header.is_control:
            self.producers.remember(header, base)
            if header.is_transactional:
                self._open.setdefault(producer_id, base)
            return
        first = self._open.pop(producer_id, None)
        if first is not None and not marker_commits(data):
            self._aborted.append(AbortedSpan(producer_id, first, base))
        self.producers.fence(producer_id, header.producer_epoch)

    def _notify(self) -> None:
        for call in tuple(self._watchers.values()):
            call()
