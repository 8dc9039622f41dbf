"""What a partition knows beyond its batches, as of an offset, in one small file.

Batches carry enough to rebuild it, until retention or compaction removes them: so it is written
before that, whenever a segment is full, and on a clean stop. What came later is read from batches.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import orjson
from aiokafka.record.util import calc_crc32c

from batuta.streams.broker.disk import replace_file
from batuta.streams.broker.segment import FORMAT_VERSION
from batuta.streams.broker.segment_scan import FormatError

if TYPE_CHECKING:
    from batuta.streams.broker.disk import Disk

__all__ = ["CHECKPOINT", "AbortedSpan", "LogCheckpoint", "read_checkpoint", "write_checkpoint"]

#: The file's name in the folder of its partition.
CHECKPOINT = "checkpoint"

_MAGIC = b"BATUTACP"
_FRAME = struct.Struct(">8sII")


@dataclass(frozen=True, slots=True)
class AbortedSpan:
    """The offsets of one aborted transaction: its first record to its marker."""

    producer_id: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """One partition as of an offset.

    Attributes:
        start_offset: where the log starts.
        end_offset: what lies at this offset or behind is not in here.
        producers: producer id, epoch, and first sequence, last sequence and offset of its last
            batches.
        open: producer id and first offset of each open transaction.
        aborted: producer id, first and last offset of each aborted transaction.
    """

    start_offset: int = 0
    end_offset: int = 0
    producers: list[tuple[int, int, list[tuple[int, int, int]]]] = field(
        default_factory=list[tuple[int, int, list[tuple[int, int, int]]]]
    )
    open: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    aborted: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])


def write_checkpoint(disk: Disk, folder: str, checkpoint: LogCheckpoint) -> None:
    """Put a partition's checkpoint in place of the last one.

    Raises:
        DiskError: the system refuses; the last one stands.
    """
    payload = orjson.dumps(checkpoint)
    head = _FRAME.pack(_MAGIC, FORMAT_VERSION, calc_crc32c(payload))
    replace_file(disk, f"{folder}/{CHECKPOINT}", head + payload)


def read_checkpoint(disk: Disk, folder: str) -> LogCheckpoint:
    """Read a partition's checkpoint; an empty one where there is none.

    Raises:
        FormatError: it was written in another version's format.
        ValueError: it is damaged.
    """
    path = f"{folder}/{CHECKPOINT}"
    if CHECKPOINT not in disk.names(folder):
        return LogCheckpoint()
    data = disk.read(path, 0, disk.size(path))
    if len(data) < _FRAME.size:
        raise ValueError("cut short")
    magic, version, crc = _FRAME.unpack_from(data)
    payload = data[_FRAME.size :]
    if magic != _MAGIC or crc != calc_crc32c(payload):
        raise ValueError("the checksum does not hold")
    if version != FORMAT_VERSION:
        raise FormatError(path, version)
    return LogCheckpoint(**cast("dict[str, object]", orjson.loads(payload)))  # type: ignore[arg-type]
