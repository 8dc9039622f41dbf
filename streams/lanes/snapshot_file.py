"""The file of a snapshot: a head, records in blocks, a foot; each chained to what stands before it.

    prefix   magic (14 bytes), format version (2, big endian)
    frames   payload length (4, big endian), digest (16), payload; the payload's first byte is its
             kind: head and foot carry JSON, records a count, the lengths of keys and of values
             (4 each, little endian), then the keys and the values

A frame's digest (BLAKE2b, RFC 7693) covers the digest before it, so a frame that is damaged, lost,
doubled or out of its place shows, and a file without its foot was never finished.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO, Final

import orjson
from aiokafka import TopicPartition
from pydantic import TypeAdapter, ValidationError

from batuta.agents.state.port import Change
from batuta.schemas.errors import SnapshotRefusedError

__all__ = ["FORMAT_VERSION", "Anchor", "Block", "Head", "SnapshotFile", "SnapshotWriter"]

FORMAT_VERSION: Final = 1

_MAGIC: Final = b"BATUTA-STATE\r\n"
_PREFIX: Final = struct.Struct(">14sH")
_FRAME: Final = struct.Struct(">I16s")
_COUNT: Final = struct.Struct("<I")
_DIGEST_BYTES: Final = 16
#: No frame is longer: a length beyond it is damage, not a reason to take so much memory.
_FRAME_BYTES_MAX: Final = 256 << 20
_HEAD, _RECORDS, _FOOT = b"H", b"R", b"F"

#: Keys and values of some records.
Block = tuple[list[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last record of the changelog that a snapshot covers.

    Attributes:
        offset: where it stands.
        timestamp_ms: as the broker keeps it.
        digest: of its key and value, in hexadecimal.
    """

    offset: int
    timestamp_ms: int
    digest: str


@dataclass(frozen=True, slots=True)
class Head:
    """Whose state a snapshot holds, and how old it is.

    Attributes:
        group: the stage's consumer group.
        topic, partition: the lane's changelog.
        covered: the first offset of the changelog that the state does not hold.
        anchor: the last record below `covered`.
        taken_ms: when, by the lane's clock.
    """

    group: str
    topic: str
    partition: int
    covered: int
    anchor: Anchor
    taken_ms: int

    @property
    def changelog(self) -> TopicPartition:
        """The partition it was taken beside."""
        return TopicPartition(self.topic, self.partition)


_HEADS: Final = TypeAdapter(Head)


class SnapshotWriter:
    """Writes one snapshot, block after block."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        prefix = _PREFIX.pack(_MAGIC, FORMAT_VERSION)
        file.write(prefix)
        self._file = file
        self._digest = prefix
        self._records = 0
        self._frame(_HEAD + orjson.dumps(asdict(head)))

    def add(self, records: Sequence[Change]) -> None:
        """Write some records."""
        keys, values = [key for key, _ in records], [value or b"" for _, value in records]
        lengths = struct.pack(f"<{2 * len(keys)}I", *map(len, keys), *map(len, values))
        self._frame(b"".join((_RECORDS, _COUNT.pack(len(keys)), lengths, *keys, *values)))
        self._records += len(keys)

    def finish(self) -> int:
        """Write the foot; return how many records the snapshot has."""
        self._frame(_FOOT + orjson.dumps({"records": self._records}))
        return self._records

    def _frame(self, payload: bytes) -> None:
        self._digest = _chained(self._digest, payload)
        self._file.write(_FRAME.pack(len(payload), self._digest))
        self._file.write(payload)


class SnapshotFile:
    """A snapshot as it lies on disk; nothing of it is believed before its digest is right."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def head(self) -> Head:
        """Return the head.

        Raises:
            SnapshotRefusedError: it is damaged, or of another format.
            FileNotFoundError: there is no snapshot.
        """
        payload = next(self._frames(), b"")
        if payload[:1] != _HEAD:
            raise _damaged("it has no head")
        try:
            return _HEADS.validate_json(payload[1:])
        except ValidationError as error:
            raise _damaged(f"its head cannot be read: {error}") from error

    def check(self) -> int:
        """Read the file to its foot; return how many records it has.

        Raises:
            SnapshotRefusedError: it is damaged, or was never finished.
        """
        last = b""
        for last in self._frames():  # noqa: B007  the last one is what counts
            pass
        if last[:1] != _FOOT:
            raise _damaged("it was never finished")
        return int(orjson.loads(last[1:])["records"])

    def blocks(self) -> Iterator[Block]:
        """Yield the records.

        Raises:
            SnapshotRefusedError: the file is damaged.
        """
        for payload in self._frames():
            if payload[:1] == _RECORDS:
                yield _block(payload)

    def _frames(self) -> Iterator[bytes]:
        """Yield the payloads; stop at the end of the file."""
        with self._path.open("rb") as file:
            digest = file.read(_PREFIX.size)
            _check_prefix(digest)
            while frame := file.read(_FRAME.size):
                if len(frame) < _FRAME.size:
                    raise _damaged("it ends inside a frame")
                length, expected = _FRAME.unpack(frame)
                payload = file.read(length) if length <= _FRAME_BYTES_MAX else b""
                digest = _chained(digest, payload)
                if len(payload) != length or digest != expected:
                    raise _damaged(f"its checksum fails before byte {file.tell()}")
                yield payload


def _chained(digest: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES, key=digest).digest()


def _check_prefix(prefix: bytes) -> None:
    if len(prefix) < _PREFIX.size or prefix[: len(_MAGIC)] != _MAGIC:
        raise _damaged("it does not begin as a snapshot does")
    _, version = _PREFIX.unpack(prefix)
    if version != FORMAT_VERSION:
        raise SnapshotRefusedError(
            "format", f"it has format {version}, this release reads {FORMAT_VERSION}"
        )


def _block(payload: bytes) -> Block:
    (count,) = _COUNT.unpack_from(payload, 1)
    begin = 1 + _COUNT.size
    lengths = struct.unpack_from(f"<{2 * count}I", payload, begin)
    ends = accumulate(lengths, initial=begin + 8 * count)
    parts = [payload[start:end] for start, end in pairwise(ends)]
    return parts[:count], parts[count:]


def _damaged(detail: str) -> SnapshotRefusedError:
    return SnapshotRefusedError("damaged", detail)
