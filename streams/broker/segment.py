"""One file of a partition's log: its header, and where in it each batch lies.

A segment starts with a header of its own (magic, format version, first offset, when it was begun
and first compacted, what it covers, checksums); behind it record batches lie as clients see them,
each with its own checksum.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.record.util import calc_crc32c

__all__ = [
    "FORMAT_VERSION",
    "HEADER_SIZE",
    "SEGMENT_SUFFIX",
    "Place",
    "Segment",
    "SegmentHeader",
    "read_segment_header",
    "segment_name",
    "write_segment_header",
]

#: The version of the format of every file of the broker.
FORMAT_VERSION = 1
SEGMENT_SUFFIX = ".log"

_MAGIC = b"BATUTALG"
_HEADER = struct.Struct(">8sIqqqqII")
_UNCHECKED = struct.Struct(">8sIqqqqI")

HEADER_SIZE = _HEADER.size


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself.

    Attributes:
        version: of the file format.
        base_offset: no batch in it starts before.
        begun_ms: when it was begun.
        cleaned_ms: when it was compacted for the first time; 0 for never.
        covers_offset: a compacted one stands for all offsets before this, there or not; 0 for
            one that was never written anew, whose batches follow each other without gaps.
        body_crc: of all batches of one that was written anew (CRC-32). A batch's own checksum
            leaves out its offset, which only its neighbours vouch for otherwise.
    """

    base_offset: int
    begun_ms: int
    cleaned_ms: int = 0
    covers_offset: int = 0
    body_crc: int = 0
    version: int = FORMAT_VERSION


def segment_name(base_offset: int) -> str:
    """The name of a segment's file: names sort as offsets do."""
    return f"{base_offset:020}{SEGMENT_SUFFIX}"


def write_segment_header(header: SegmentHeader) -> bytes:
    """The bytes a segment starts with."""
    said = _UNCHECKED.pack(
        _MAGIC,
        header.version,
        header.base_offset,
        header.begun_ms,
        header.cleaned_ms,
        header.covers_offset,
        header.body_crc,
    )
    return said + struct.pack(">I", calc_crc32c(said))


def read_segment_header(data: bytes) -> SegmentHeader:
    """Read the bytes a segment starts with.

    Raises:
        ValueError: they are no such header.
    """
    if len(data) < HEADER_SIZE:
        raise ValueError("a segment's header is cut short")
    magic, version, *fields, crc = _HEADER.unpack_from(data)
    if magic != _MAGIC or crc != calc_crc32c(data[: _UNCHECKED.size]):
        raise ValueError("a segment's header is damaged")
    base_offset, begun_ms, cleaned_ms, covers_offset, body_crc = fields
    return SegmentHeader(base_offset, begun_ms, cleaned_ms, covers_offset, body_crc, version)


class Place(NamedTuple):
    """One batch in the log.

    Attributes:
        base_offset: of its first record.
        last_offset: of its last record, there or compacted away.
        max_timestamp_ms: the greatest of its records.
    """

    base_offset: int
    last_offset: int
    max_timestamp_ms: int


def _longs() -> array[int]:
    return array("q")


@dataclass(slots=True, eq=False)
class Segment:
    """The index of one segment, in memory: 32 bytes for each batch.

    Attributes:
        path: of its file.
        size: bytes in the file; 0 while there is none.
        bases: the first offset of each batch.
        lasts: the last offset of each batch.
        timestamps: the greatest timestamp of each batch (ms).
        ends: where in the file each batch ends.
        max_timestamp_ms: the greatest of all; -1 for none.
    """

    path: str
    header: SegmentHeader
    size: int = 0
    bases: array[int] = field(default_factory=_longs)
    lasts: array[int] = field(default_factory=_longs)
    timestamps: array[int] = field(default_factory=_longs)
    ends: array[int] = field(default_factory=_longs)
    max_timestamp_ms: int = -1

    @property
    def base_offset(self) -> int:
        """No batch in it starts before."""
        return self.header.base_offset

    @property
    def end_offset(self) -> int:
        """Where the segment behind it starts."""
        covers = max(self.header.covers_offset, self.header.base_offset)
        return max(covers, self.lasts[-1] + 1) if self.lasts else covers

    def add(self, place: Place, size: int) -> None:
        """Note a batch that was written behind the others."""
        self.size = end = (self.size or HEADER_SIZE) + size
        self.bases.append(place.base_offset)
        self.lasts.append(place.last_offset)
        self.timestamps.append(place.max_timestamp_ms)
        self.ends.append(end)
        self.max_timestamp_ms = max(self.max_timestamp_ms, place.max_timestamp_ms)

    def start_of(self, index: int) -> int:
        """Where in the file a batch starts."""
        return self.ends[index - 1] if index else HEADER_SIZE

    def index_of(self, offset: int) -> int:
        """The first batch that ends at an offset or later; the count where there is none."""
        return bisect_left(self.lasts, offset)
