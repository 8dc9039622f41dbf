"""Finding a partition's segments after a restart, and what to do about those that are not whole.

A torn tail is cut off and said; damage stops the start (CorruptFileError), unless salvage is
wanted: then the damaged file is kept under another name and what can be read of it is served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import structlog

from batuta.streams.broker.batches import read_header
from batuta.streams.broker.disk import UNFINISHED, replace_file
from batuta.streams.broker.segment import (
    SEGMENT_SUFFIX,
    Segment,
    SegmentHeader,
    segment_name,
    write_segment_header,
)
from batuta.streams.broker.segment_scan import CorruptFileError, Scan, good_batches, scan_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.batches import BatchHeader
    from batuta.streams.broker.disk import Disk

    See = Callable[[BatchHeader, bytes], None]

__all__ = ["DAMAGED", "LogRecovery", "RecoveryReport"]

#: What a damaged file is renamed to when it is salvaged; nobody reads or removes it.
DAMAGED = ".damaged"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RecoveryReport:
    """What a start had to repair.

    Attributes:
        torn_writes: last writes that did not finish, and were cut off.
        torn_bytes: how much that was; nobody was told that it was written.
        salvaged: damaged files that were set aside.
        completed_transactions: decided before the stop, finished now.
        unknown_transactions: partitions with records of a transaction that was noted nowhere, and
            is aborted now; only the end of the machine leaves such.
    """

    torn_writes: int = 0
    torn_bytes: int = 0
    salvaged: list[str] = field(default_factory=list[str])
    completed_transactions: int = 0
    unknown_transactions: int = 0


@dataclass(frozen=True, slots=True)
class LogRecovery:
    """How one partition's segments are read back.

    Attributes:
        expected: where the log starts, and an offset it is known to have reached.
        see: called with each good batch, in order.
        salvage: whether damage is set aside instead of stopping the start.
    """

    disk: Disk
    folder: str
    expected: tuple[int, int]
    see: See
    report: RecoveryReport
    salvage: bool = False

    def segments(self) -> list[Segment]:
        """Read all segments.

        Raises:
            CorruptFileError: something acknowledged is damaged or missing.
            FormatError: another version wrote them.
        """
        names = self._names()
        found: list[Segment] = []
        for name in names:
            path, base = f"{self.folder}/{name}", int(name.removesuffix(SEGMENT_SUFFIX))
            if found and base < found[-1].end_offset:
                self.disk.remove(path)  # Compaction was interrupted before it could.
                continue
            self._fill_gap(found, base)
            end = found[-1].end_offset if found else base
            segment = self._read(path, end, is_last=name == names[-1])
            if segment is not None:
                found.append(segment)
        self._check_end(found)
        return found

    def _names(self) -> list[str]:
        names = self.disk.names(self.folder)
        for name in names:
            if name.endswith(UNFINISHED):
                self.disk.remove(f"{self.folder}/{name}")
        return [name for name in names if name.endswith(SEGMENT_SUFFIX)]

    def _read(self, path: str, end: int, *, is_last: bool) -> Segment | None:
        scan = scan_segment(self.disk, path, end, self.see)
        if not scan.bad_bytes and scan.segment is not None:
            return scan.segment
        reached = end if scan.segment is None else scan.segment.end_offset
        is_torn = is_last and not scan.has_good_behind and reached >= self.expected[1]
        if is_torn:
            return self._cut(path, scan)
        position = 0 if scan.segment is None else scan.segment.size
        what = "this is no whole batch, and what lies behind it was acknowledged"
        self._refuse(path, position, what)
        return self._salvage(path, end, reached)

    def _cut(self, path: str, scan: Scan) -> Segment | None:
        """Cut off a write that did not finish."""
        _log.warning("torn_write_cut", file=path, bytes=scan.bad_bytes)
        self.report.torn_writes += 1
        self.report.torn_bytes += scan.bad_bytes
        if scan.segment is None:
            self.disk.remove(path)
        else:
            self.disk.truncate(path, scan.segment.size)
        return scan.segment

    def _fill_gap(self, found: list[Segment], base: int) -> None:
        end = found[-1].end_offset if found else self.expected[0]
        if end == base or (not found and base <= end):
            return
        missing = f"{self.folder}/{segment_name(end)}"
        self._refuse(missing, 0, f"the records from offset {end} to {base} are missing")
        found.append(self._stand_in(end, base))

    def _check_end(self, found: list[Segment]) -> None:
        end = found[-1].end_offset if found else 0
        if end >= self.expected[1]:
            return
        missing = f"{self.folder}/{segment_name(end)}"
        what = f"the records from offset {end} to {self.expected[1]} are missing"
        self._refuse(missing, 0, what)
        found.append(self._stand_in(end, self.expected[1]))

    def _refuse(self, path: str, position: int, what: str) -> None:
        if not self.salvage:
            raise CorruptFileError(path, position, what)
        _log.warning("damage_salvaged", file=path, position=position, damage=what)
        self.report.salvaged.append(path)

    def _stand_in(self, base: int, end: int) -> Segment:
        """An empty segment that stands for lost offsets, so that the loss is known from now on."""
        return self._write_anew(SegmentHeader(base, 0, covers_offset=end), b"", self.see)

    def _salvage(self, path: str, end: int, seen_to: int) -> Segment:
        """Set a damaged file aside and write anew what can be read of it."""
        data = self.disk.read(path, 0, self.disk.size(path))
        base = int(path.rpartition("/")[2].removesuffix(SEGMENT_SUFFIX))
        self.disk.rename(path, path + DAMAGED)
        good = list(good_batches(data, max(base, end)))
        batches, reached = b"".join(good), end
        if good:
            last = read_header(good[-1])
            reached = last.base_offset + last.last_offset_delta + 1
        covers = max(self._next_base(base), reached)
        header = SegmentHeader(base, 0, 0, covers, crc32(batches))

        def see(batch: BatchHeader, data: bytes) -> None:
            if batch.base_offset >= seen_to:
                self.see(batch, data)

        return self._write_anew(header, batches, see)

    def _next_base(self, base: int) -> int:
        """Where the segment behind one starts, as far as it is known."""
        bases = [int(name.removesuffix(SEGMENT_SUFFIX)) for name in self._names()]
        return min((other for other in bases if other > base), default=self.expected[1])

    def _write_anew(self, header: SegmentHeader, batches: bytes, see: See) -> Segment:
        path = f"{self.folder}/{segment_name(header.base_offset)}"
        replace_file(self.disk, path, write_segment_header(header) + batches)
        segment = scan_segment(self.disk, path, header.base_offset, see).segment
        assert segment is not None
        return segment
