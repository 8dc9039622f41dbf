"""Reading a segment after a restart: every batch is checked, a torn tail is cut off.

A torn tail is a last write that did not finish: bad bytes at the end of the last segment, with no
whole batch behind them. Bad bytes anywhere else are damage, which is never passed over in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from batuta.schemas.errors import UsageError
from batuta.streams.broker.batches import (
    HEADER_SIZE as BATCH_HEADER_SIZE,
)
from batuta.streams.broker.batches import (
    MAGIC,
    BatchHeader,
    crc_holds,
    read_header,
)
from batuta.streams.broker.segment import (
    FORMAT_VERSION,
    HEADER_SIZE,
    Place,
    Segment,
    read_segment_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batuta.streams.broker.disk import Disk

__all__ = ["CorruptFileError", "FormatError", "Scan", "good_batches", "scan_segment"]

_MAGIC_AT = 16
_MAGIC_BYTE = bytes([MAGIC])


class CorruptFileError(UsageError):
    """A file of the data directory is damaged where no torn write can have done it.

    Attributes:
        path: the file, below the data directory.
        position: the first byte that cannot be read.
    """

    def __init__(self, path: str, position: int, what: str) -> None:
        super().__init__(
            f"{path}, byte {position}: {what}; restore the file from a copy, or start once with"
            " --salvage: what cannot be read is set aside, the rest is served"
        )
        self.path, self.position = path, position


class FormatError(UsageError):
    """A file was written by a version of batuta that this one does not understand."""

    def __init__(self, path: str, version: int) -> None:
        super().__init__(
            f"{path} has format version {version}, this batuta reads {FORMAT_VERSION};"
            " start the version that wrote it"
        )


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds.

    Attributes:
        segment: its index, up to the last good batch; None where not even its header is whole.
        bad_bytes: how many behind that cannot be read.
        has_good_behind: whether whole batches follow the bad bytes.
    """

    segment: Segment | None
    bad_bytes: int = 0
    has_good_behind: bool = False


def scan_segment(
    disk: Disk, path: str, from_offset: int, see: Callable[[BatchHeader, bytes], None]
) -> Scan:
    """Read one segment from its start.

    Args:
        disk: where it lies.
        path: its file.
        from_offset: where the segment before it ended.
        see: called with each good batch.

    Raises:
        FormatError: it was written in another version's format.
    """
    data = disk.read(path, 0, disk.size(path))
    try:
        header = read_segment_header(data[:HEADER_SIZE])
    except ValueError:
        return Scan(None, len(data), _next_batch(data, 0, from_offset) >= 0)
    if header.version != FORMAT_VERSION:
        raise FormatError(path, header.version)
    has_gaps = header.covers_offset > 0
    if has_gaps and crc32(memoryview(data)[HEADER_SIZE:]) != header.body_crc:
        return Scan(None, len(data), has_good_behind=True)
    segment = Segment(path, header, size=HEADER_SIZE)
    position, next_offset = HEADER_SIZE, max(header.base_offset, from_offset)
    while position < len(data):
        batch = _batch_at(data, position, next_offset)
        if batch is None or not (has_gaps or batch.base_offset == next_offset):
            behind = _next_batch(data, position + 1, next_offset)
            return Scan(segment, len(data) - position, behind >= 0)
        last = batch.base_offset + batch.last_offset_delta
        see(batch, data[position : position + batch.size])
        segment.add(Place(batch.base_offset, last, batch.max_timestamp_ms), batch.size)
        position, next_offset = position + batch.size, last + 1
    return Scan(segment)


def _batch_at(data: bytes, position: int, next_offset: int) -> BatchHeader | None:
    """The batch that lies here, if it is whole and its checksum holds."""
    try:
        header = read_header(data[position : position + BATCH_HEADER_SIZE])
    except ValueError:
        return None
    fits = BATCH_HEADER_SIZE <= header.size <= len(data) - position
    in_order = header.base_offset >= next_offset and header.last_offset_delta >= 0
    if header.magic != MAGIC or header.leader_epoch or not fits or not in_order:
        return None
    whole = data[position : position + header.size]
    return header if crc_holds(whole, header) else None


def good_batches(data: bytes, next_offset: int) -> Iterator[bytes]:
    """The batches that can be read of a damaged segment."""
    position = _next_batch(data, 0, next_offset)
    while position >= 0:
        header = read_header(data[position : position + BATCH_HEADER_SIZE])
        yield data[position : position + header.size]
        next_offset = header.base_offset + header.last_offset_delta + 1
        position = _next_batch(data, position + header.size, next_offset)


def _next_batch(data: bytes, start: int, next_offset: int) -> int:
    """Where the next whole batch starts; -1 where there is none."""
    found = data.find(_MAGIC_BYTE, start + _MAGIC_AT)
    while found >= 0:
        if _batch_at(data, found - _MAGIC_AT, next_offset) is not None:
            return found - _MAGIC_AT
        found = data.find(_MAGIC_BYTE, found + 1)
    return -1
