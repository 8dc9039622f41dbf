"""The redriven dead letter: the marker that keeps it to once, and the header it travels with.

A marker is written in the same transaction as the record it stands for. It names its dead letter by
partition and offset, and by timestamp too: should the topic be made anew, offsets begin again, and
the markers of the old one stand for nothing. Version 1.
"""

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.message_reading import read_message
from batuta.schemas.record import Headers, Output, Record
from batuta.schemas.times import EventTime, rfc3339, time_ms

__all__ = [
    "REDRIVEN_OF",
    "LetterId",
    "Marker",
    "decode_marker",
    "encode_marker",
    "encode_pruned",
    "redriven_headers",
]

#: The header of a redriven record that says which dead letter it was, as `PARTITION:OFFSET`.
REDRIVEN_OF: Final = "batuta-redriven-of"
_VERSION: Final = 1


class LetterId(NamedTuple):
    """Where a dead letter lies on its topic.

    >>> str(LetterId(2, 17)), LetterId.parse("2:17")
    ('2:17', LetterId(partition=2, offset=17))
    """

    partition: int
    offset: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "LetterId":
        """Read what `str` wrote.

        Raises:
            ValueError: it is not two whole numbers with a colon between.
        """
        partition, colon, offset = text.partition(":")
        if not (colon and _is_number(partition) and _is_number(offset)):
            raise ValueError(f"{text!r} is not PARTITION:OFFSET, such as 2:17")
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class Marker:
    """One dead letter that was redriven.

    Attributes:
        letter: which; letter_ms: the timestamp of its record.
        stage: where it went.
        fixed: whether its value or headers were changed.
        redriven_at_ms: milliseconds since 1970 UTC.
    """

    letter: LetterId
    letter_ms: int
    stage: str
    fixed: bool
    redriven_at_ms: int


class _MarkerWire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    version: Annotated[int, Field(ge=1, le=1)]
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    letter_ms: int
    stage: str
    fixed: bool
    redriven_at: EventTime


def encode_marker(marker: Marker, topic: str) -> Output:
    """Write a marker, keyed by its dead letter and beside it: to the partition of that number."""
    body = {
        "version": _VERSION,
        "partition": marker.letter.partition,
        "offset": marker.letter.offset,
        "letter_ms": marker.letter_ms,
        "stage": marker.stage,
        "fixed": marker.fixed,
        "redriven_at": rfc3339(marker.redriven_at_ms),
    }
    key = str(marker.letter).encode()
    return Output(topic, key, orjson.dumps(body), (), marker.letter.partition)


def encode_pruned(letter: LetterId, topic: str) -> Output:
    """Write that a marker is taken out: a tombstone in its place."""
    return Output(topic, str(letter).encode(), None, (), letter.partition)


def decode_marker(record: Record) -> Marker:
    """Read one marker.

    Raises:
        RefusedEventError: it is no marker of a version known here.
    """
    try:
        wire = read_message(_MarkerWire, record)
    except RefusedEventError as error:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        detail = f"{where} marks no dead letter that this release can read: {error.detail}"
        raise RefusedEventError(error.reason, detail, error.path) from error
    letter = LetterId(wire.partition, wire.offset)
    return Marker(letter, wire.letter_ms, wire.stage, wire.fixed, time_ms(wire.redriven_at))


def redriven_headers(headers: Headers, letter: LetterId) -> Headers:
    """Return a record's headers with the one that says which dead letter it was."""
    others = tuple(pair for pair in headers if pair[0] != REDRIVEN_OF)
    return (*others, (REDRIVEN_OF, str(letter).encode()))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20  # noqa: PLR2004 - an int64 has 19
