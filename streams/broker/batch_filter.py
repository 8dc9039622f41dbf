"""Record batches with some of their records taken out: what compaction leaves of them.

Offsets, timestamps and sequence numbers stay as they were: a batch keeps its first and its last
offset, and each record the distance to the first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka import codec
from aiokafka.record.util import calc_crc32c

from batuta.streams.broker.batches import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batuta.streams.broker.batches import BatchHeader

__all__ = ["KeyedRecord", "filter_batch", "keyed_records"]

_CODEC_MASK = 0x07
_LENGTH_AT, _CRC_AT, _ATTRIBUTES_AT, _MAX_TIMESTAMP_AT, _COUNT_AT = 8, 17, 21, 35, 57
_BEFORE_LENGTH_ENDS = 12
#: How to unpack and pack the records of a batch, by the codec in its attributes.
_CODECS: Final[dict[int, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]] = {
    1: (codec.gzip_decode, codec.gzip_encode),
    2: (codec.snappy_decode, codec.snappy_encode),
    3: (codec.lz4_decode, codec.lz4_encode),
    4: (codec.zstd_decode, codec.zstd_encode),
}


@dataclass(frozen=True, slots=True)
class KeyedRecord:
    """What compaction looks at in a record.

    Attributes:
        offset: its place in the log.
        timestamp_ms: its own.
        key: None where it has none.
        is_tombstone: whether it says that its key is gone.
        span: where its bytes lie among those of its batch's records.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    is_tombstone: bool
    span: tuple[int, int]


def keyed_records(data: bytes, header: BatchHeader) -> Iterator[KeyedRecord]:
    """The records of a batch."""
    yield from _parse(_records_of(data, header), header)


def filter_batch(
    data: bytes, header: BatchHeader, keeps: Callable[[KeyedRecord], bool]
) -> bytes | None:
    """What is left of a batch.

    Args:
        data: the batch.
        header: its header.
        keeps: whether a record stays.

    Returns:
        The batch without the others; None where none stays.
    """
    records = _records_of(data, header)
    kept = [record for record in _parse(records, header) if keeps(record)]
    if not kept:
        return None
    if len(kept) == header.record_count:
        return data
    return _build(data, header, records, kept)


def _build(data: bytes, header: BatchHeader, records: bytes, kept: list[KeyedRecord]) -> bytes:
    body = b"".join([records[slice(*record.span)] for record in kept])
    packed = header.attributes & _CODEC_MASK
    if packed:
        body = _CODECS[packed][1](body)
    batch = bytearray(data[:HEADER_SIZE]) + body
    latest = max(record.timestamp_ms for record in kept)
    struct.pack_into(">q", batch, _MAX_TIMESTAMP_AT, latest)
    struct.pack_into(">i", batch, _COUNT_AT, len(kept))
    struct.pack_into(">i", batch, _LENGTH_AT, len(batch) - _BEFORE_LENGTH_ENDS)
    struct.pack_into(">I", batch, _CRC_AT, calc_crc32c(bytes(batch[_ATTRIBUTES_AT:])))
    return bytes(batch)


def _records_of(data: bytes, header: BatchHeader) -> bytes:
    packed = header.attributes & _CODEC_MASK
    body = data[HEADER_SIZE : header.size]
    return bytes(_CODECS[packed][0](body)) if packed else body


def _parse(records: bytes, header: BatchHeader) -> Iterator[KeyedRecord]:
    position = 0
    for _ in range(header.record_count):
        start = position
        size, position = _varint(records, position)
        end = position + size
        timestamp_delta, position = _varint(records, position + 1)
        offset_delta, position = _varint(records, position)
        key_size, position = _varint(records, position)
        key = records[position : position + key_size] if key_size >= 0 else None
        value_size, _ = _varint(records, position + max(0, key_size))
        yield KeyedRecord(
            header.base_offset + offset_delta,
            header.base_timestamp_ms + timestamp_delta,
            key,
            value_size < 0,
            (start, end),
        )
        position = end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A zigzag number of variable length, and where it ends."""
    byte = data[position]
    number, shift = byte & 0x7F, 7
    while byte & 0x80:
        position += 1
        byte = data[position]
        number |= (byte & 0x7F) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), position + 1
