"""Where the batches of a partition lie: segments, one after the other, on a disk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.segment import (
    HEADER_SIZE,
    Place,
    Segment,
    SegmentHeader,
    segment_name,
    write_segment_header,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.streams.broker.disk import Disk

__all__ = ["Chunk", "SegmentLimits", "SegmentedStorage"]


@dataclass(slots=True)
class SegmentLimits:
    """When a new segment begins, and when it is synced.

    Attributes:
        size_bytes: before the last one becomes larger than this.
        age_ms: when its first batch was appended longer ago than this.
        flush_batches: sync after this many batches.
    """

    size_bytes: int
    age_ms: int
    flush_batches: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole batches that were read.

    Attributes:
        data: the batches, one behind the other.
        end_offset: one more than the last offset in them; where nothing was read, what was asked.
    """

    data: bytes
    end_offset: int


class SegmentedStorage:
    """Batches in offset order; found by offset in logarithmic time.

    Nothing changes in memory before it is written, so a write that fails leaves all as it was.
    """

    def __init__(self, disk: Disk, folder: str, limits: SegmentLimits) -> None:
        self.disk, self.folder, self.limits = disk, folder, limits
        self.segments: list[Segment] = []
        self._bases: list[int] = []
        self._unsynced_batches = 0

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(segment.size for segment in self.segments)

    def load(self, segments: list[Segment]) -> None:
        """Go on with the segments that were found."""
        self.segments = segments
        self._bases = [segment.base_offset for segment in segments]

    def append(self, place: Place, data: bytes, now_ms: int) -> None:
        """Put a batch behind all others.

        Raises:
            DiskError: it could not be written, and is not there.
        """
        if self._must_roll(len(data), now_ms):
            segment = self._begin(place.base_offset, now_ms)
            self._write(segment, write_segment_header(segment.header) + data)
            self._take_in(segment)
        else:
            segment = self.segments[-1]
            self._write(segment, data)
        segment.add(place, len(data))

    def roll(self, base_offset: int, now_ms: int) -> None:
        """Begin a new segment, which is empty, unless the last one is.

        Raises:
            DiskError: it could not be written.
        """
        if self.segments and self.segments[-1].base_offset == base_offset:
            return
        segment = self._begin(base_offset, now_ms)
        self._write(segment, write_segment_header(segment.header))
        segment.size = HEADER_SIZE
        self._take_in(segment)

    def read(self, offset: int, limit_offset: int, max_bytes: int, *, at_least_one: bool) -> Chunk:
        """Read whole batches.

        Args:
            offset: the first offset wanted; its batch may start before it.
            limit_offset: batches that start here or later are not read.
            max_bytes: stop before this many bytes.
            at_least_one: read the first batch even where it is larger than that.
        """
        pieces: list[bytes] = []
        end, room = offset, max_bytes
        for segment in self.segments[self._index_of(offset) :]:
            first = segment.index_of(offset)
            begin = segment.start_of(first)
            limit = bisect_left(segment.bases, limit_offset, first)
            stop = min(limit, bisect_right(segment.ends, begin + room, first))
            if stop == first < limit and at_least_one and not pieces:
                stop += 1
            if stop > first:
                size = segment.ends[stop - 1] - begin
                pieces.append(self.disk.read(segment.path, begin, size))
                end, room = segment.lasts[stop - 1] + 1, room - size
            if stop < len(segment.bases):
                break
        return Chunk(pieces[0] if len(pieces) == 1 else b"".join(pieces), end)

    def first_at_or_after(self, timestamp_ms: int, from_offset: int) -> bytes | None:
        """The first batch with a record as late as asked."""
        for segment in self.segments[self._index_of(from_offset) :]:
            if segment.max_timestamp_ms < timestamp_ms:
                continue
            for index in range(segment.index_of(from_offset), len(segment.bases)):
                if segment.timestamps[index] >= timestamp_ms:
                    return self.batch_at(segment, index)
        return None

    def latest_timestamp_ms(self, from_offset: int) -> int | None:
        """The greatest timestamp of all batches from an offset on."""
        found = [
            max(segment.timestamps[segment.index_of(from_offset) :])
            for segment in self.segments
            if segment.index_of(from_offset) < len(segment.bases)
        ]
        return max(found, default=None)

    def batch_at(self, segment: Segment, index: int) -> bytes:
        """One batch."""
        start = segment.start_of(index)
        return self.disk.read(segment.path, start, segment.ends[index] - start)

    def drop_before(self, offset: int) -> None:
        """Remove segments that end before an offset; the last one always stays.

        Raises:
            DiskError: the system refuses; what was not removed is still there.
        """
        while len(self.segments) > 1 and self._bases[1] <= offset:
            self.disk.remove(self.segments[0].path)
            del self.segments[0], self._bases[0]

    def replace(self, old: Sequence[Segment], new: Segment) -> None:
        """Put one compacted segment in the place of those it was made of.

        Where this ends half way, recovery sees by what the new one covers that others are old.

        Raises:
            DiskError: the system refuses.
        """
        index = self.segments.index(old[0])
        self.disk.rename(new.path, old[0].path)
        new.path = old[0].path
        self.segments[index : index + len(old)] = [new]
        self._bases[index : index + len(old)] = [new.base_offset]
        for segment in old[1:]:
            self.disk.remove(segment.path)

    def sync(self) -> None:
        """Make sure that the last segment survives the end of the machine."""
        if self.segments:
            self.disk.sync(self.segments[-1].path)

    def _must_roll(self, size: int, now_ms: int) -> bool:
        if not self.segments:
            return True
        last = self.segments[-1]
        if last.header.covers_offset:
            return True
        if not last.bases:
            return False
        is_old = now_ms - last.header.begun_ms > self.limits.age_ms
        return is_old or last.size + size > self.limits.size_bytes

    def _begin(self, base_offset: int, now_ms: int) -> Segment:
        # A segment with another behind it is whole: what is missing from it is damage, never torn.
        self.sync()
        path = f"{self.folder}/{segment_name(base_offset)}"
        return Segment(path, SegmentHeader(base_offset, now_ms))

    def _take_in(self, segment: Segment) -> None:
        self.segments.append(segment)
        self._bases.append(segment.base_offset)

    def _write(self, segment: Segment, data: bytes) -> None:
        try:
            self.disk.write(segment.path, segment.size, data)
            self._unsynced_batches += 1
            if self._unsynced_batches >= self.limits.flush_batches:
                self.disk.sync(segment.path)
                self._unsynced_batches = 0
        except DiskError:
            # What was half written lies beyond the end that counts: the next write covers it, and
            # recovery would cut it off. A full disk is glad of the room.
            with suppress(DiskError):
                self.disk.truncate(segment.path, segment.size)
            raise

    def _index_of(self, offset: int) -> int:
        """The segment in which an offset lies, or the next where it was compacted away."""
        return max(0, bisect_right(self._bases, offset) - 1)
