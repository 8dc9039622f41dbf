"""The header of a record batch (magic 2), read and written without touching its records."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "HEADER_SIZE",
    "MAGIC",
    "NO_PRODUCER_ID",
    "NO_SEQUENCE",
    "BatchHeader",
    "control_batch",
    "crc_holds",
    "first_record_at_or_after",
    "marker_commits",
    "read_header",
    "with_base_offset",
]

# base offset, length, leader epoch, magic, crc, attributes, last offset delta, base timestamp,
# max timestamp, producer id, producer epoch, base sequence, record count
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM = 21
_LENGTH_FROM = 12
_TAIL = struct.Struct(">hiqqqhii")

HEADER_SIZE = _HEADER.size
MAGIC = 2
# Behind the header: length, attributes, two deltas, key length, key version; one byte each but
# the last. A marker's record is too small for longer ones.
_MARKER_TYPE_AT = HEADER_SIZE + 7
NO_PRODUCER_ID = -1
NO_SEQUENCE = -1
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What a broker needs to know of one batch; its records stay opaque."""

    base_offset: int
    size: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether the batch is a transaction marker."""
        return bool(self.attributes & CONTROL_BIT)

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record; numbers wrap at 2^31."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF


def read_header(data: bytes) -> BatchHeader:
    """Read the header that `data` starts with.

    Raises:
        ValueError: there is not even a header.
    """
    try:
        base, length, *rest = _HEADER.unpack_from(data)
    except struct.error as error:
        raise ValueError("a record batch is cut short") from error
    return BatchHeader(base, length + _LENGTH_FROM, *rest)


def crc_holds(data: bytes, header: BatchHeader) -> bool:
    """Whether the batch is what its producer sent."""
    return bool(calc_crc32c(cast("bytes", memoryview(data)[_CRC_FROM:])) == header.crc)


def with_base_offset(data: bytes, offset: int) -> bytes:
    """The same batch at its place in the log; neither field is under the checksum."""
    rest = memoryview(data)[16:]
    return b"".join((struct.pack(">q", offset), data[8:12], b"\x00\x00\x00\x00", rest))


def control_batch(producer_id: int, epoch: int, *, commit: bool, timestamp_ms: int) -> bytes:
    """One transaction marker: a batch of a single control record, at offset 0.

    Args:
        producer_id: whose transaction ends.
        epoch: the epoch that ended it.
        commit: whether it commits or aborts.
        timestamp_ms: when.
    """
    key = struct.pack(">hh", 0, 1 if commit else 0)
    value = struct.pack(">hi", 0, 0)
    record = b"\x00\x00\x00" + bytes([len(key) * 2]) + key + bytes([len(value) * 2]) + value + b"\0"
    attributes = TRANSACTIONAL_BIT | CONTROL_BIT
    tail = _TAIL.pack(attributes, 0, timestamp_ms, timestamp_ms, producer_id, epoch, -1, 1)
    tail += bytes([len(record) * 2]) + record
    head = struct.pack(">qiib", 0, len(tail) + 9, 0, MAGIC)
    return head + struct.pack(">I", calc_crc32c(tail)) + tail


def marker_commits(data: bytes) -> bool:
    """Whether a transaction marker commits; otherwise it aborts."""
    (commits,) = struct.unpack_from(">h", data, _MARKER_TYPE_AT)
    return bool(commits)


class _Record(Protocol):
    offset: int
    timestamp: int


def first_record_at_or_after(data: bytes, timestamp_ms: int) -> tuple[int, int] | None:
    """Find the first record of a batch that is as late as asked.

    Returns:
        Its offset and its timestamp (ms), or None where all records are earlier.
    """
    for record in cast("Iterable[_Record]", DefaultRecordBatch(data)):
        if record.timestamp >= timestamp_ms:
            return record.offset, record.timestamp
    return None
