"""Alignment: records of several inputs, given out in the order of their event time.

A record is held until the watermark, the smallest of the inputs', has passed its event time: then
nothing earlier can come. Equal times go by the order of the inputs, then by the record's place in
its input. So what comes out depends only on what went in, never on which input was read faster. A
record that comes behind the watermark is late and goes with the next release, ahead of the others.

What is held is bounded per input, so that one far ahead leaves room for the others; a lane asks for
`room` and pauses the input that has none.

Changelog: key `tag` + event time (8 bytes, shifted by 2^63 so that bytes sort as times), input (2),
partition (4), offset (8), big endian; value, after the keyed table's version: record timestamp (8,
signed), length of the topic, of the key, of the value and number of headers (4 each, signed, -1 for
no key or no value), then these, and per header the lengths of name and value (4 each) and both.

    held = Held(b"h", inputs=2, records_max=100_000)
    held.begin()
    held.offer([HeldRecord(5_000, 0, event), HeldRecord(4_000, 1, outcome)])
    held.release(watermark_ms=4_500, limit=1_000)    # [HeldRecord(4_000, 1, outcome)]
"""

import struct
from collections.abc import Iterable
from itertools import chain
from typing import Final, NamedTuple

from batuta.agents.state.agenda import Agenda
from batuta.agents.state.codecs import RAW, Codec
from batuta.agents.state.listed import ListedTable
from batuta.schemas.errors import StateCorruptError, StateFullError
from batuta.schemas.record import Headers, Record

__all__ = ["Held", "HeldRecord"]

_PLACE: Final = struct.Struct(">QHIQ")
_TIME_OFFSET: Final = 1 << 63
_HEAD: Final = struct.Struct(">qiiii")
_LENGTHS: Final = struct.Struct(">ii")


class HeldRecord(NamedTuple):
    """A record that waits for its turn.

    Attributes:
        event_time_ms: by which it is put in order.
        input: the place of its topic among the lane's inputs; the smaller goes first.
        record: as it was read.
    """

    event_time_ms: int
    input: int
    record: Record


class Held(ListedTable[bytes, bytes]):
    """A StateTable of the records that one lane holds back."""

    def __init__(
        self, tag: bytes, *, inputs: int, records_max: int, name: str = "held records"
    ) -> None:
        """Open an empty table for so many inputs, that holds at most `records_max` of each."""
        super().__init__(tag, Codec(RAW, RAW), name, entries_max=inputs * records_max)
        self._records_max = records_max
        self._agenda = Agenda()
        self._held_of = [0] * inputs

    def room(self, order: int) -> int:
        """Return how many more records of the input in this place may be offered."""
        return self._records_max - self._held_of[order]

    def offer(self, records: Iterable[HeldRecord]) -> None:
        """Hold `records`; one that is held already, by its input, partition and offset, once.

        Raises:
            StateFullError: an input has no room.
        """
        for held in records:
            place = _place(held)
            if self.room(held.input) <= 0 and place not in self._table:
                raise StateFullError(
                    f"the table {self.name} holds {self._records_max} records of input "
                    f"{held.input} ({held.record.topic}): raise its records_max, or read the "
                    "inputs that are behind first"
                )
            self._table.put(place, _encode(held.record))
            self._relist(place)

    def release(self, watermark_ms: int, limit: int) -> list[HeldRecord]:
        """Take out, in order, the records before the watermark, at most `limit`.

        One at the watermark itself stays: another of the same time may come. To get the last ones
        out, an input that has ended tells a watermark after all time.
        """
        due = self._agenda.take(watermark_ms - 1, limit)
        released = [self._record(place) for _, place in due]
        for held, (_, place) in zip(released, due, strict=True):
            self._table.delete(place)
            self._held_of[held.input] -= 1
        return released

    def take_out(self, released: Iterable[HeldRecord]) -> list[HeldRecord]:
        """Take out exactly these, as they were released before what released them was rolled back.

        Raises:
            KeyError: one of them is not held.
        """
        taken: list[HeldRecord] = []
        for held in released:
            place = _place(held)
            if place not in self._table:
                raise KeyError(f"no record of {held.record.topic} is held at {held.record.offset}")
            taken.append(self._record(place))
            self._table.delete(place)
            self._relist(place)
        return taken

    def first_ms(self) -> int | None:
        """Return the earliest event time that is held, or None."""
        first = self._agenda.first()
        return None if first is None else first[0]

    def _relist(self, key: bytes) -> None:
        """Bring agenda and counts up to whether the table holds a record at this place."""
        event_time_ms, order = _split(key)
        if not 0 <= order < len(self._held_of):
            raise StateCorruptError(f"a held record is of input {order}, which is none of these")
        was_held, is_held = self._agenda.get(key) is not None, key in self._table
        self._held_of[order] += is_held - was_held
        self._agenda.put(key, event_time_ms if is_held else None)

    def _record(self, place: bytes) -> HeldRecord:
        raw = self._table.get(place)
        assert raw is not None, "the agenda names what the table holds"
        shifted_ms, order, partition, offset = _PLACE.unpack(place)
        return HeldRecord(shifted_ms - _TIME_OFFSET, order, _decode(raw, partition, offset))


def _place(held: HeldRecord) -> bytes:
    record = held.record
    shifted_ms = held.event_time_ms + _TIME_OFFSET
    return _PLACE.pack(shifted_ms, held.input, record.partition, record.offset)


def _split(place: bytes) -> tuple[int, int]:
    """Return event time and input."""
    if len(place) != _PLACE.size:
        raise StateCorruptError(f"{place[:32]!r} is no place of a held record")
    shifted_ms, order, _, _ = _PLACE.unpack(place)
    return shifted_ms - _TIME_OFFSET, order


def _encode(record: Record) -> bytes:
    topic, key, value = record.topic.encode(), record.key, record.value
    lengths = (len(topic), _length(key), _length(value), len(record.headers))
    named = [(name.encode(), content) for name, content in record.headers]
    headers = chain.from_iterable(
        (_LENGTHS.pack(len(name), len(content)), name, content) for name, content in named
    )
    head = _HEAD.pack(record.timestamp_ms, *lengths)
    return b"".join((head, topic, key or b"", value or b"", *headers))


def _length(part: bytes | None) -> int:
    return -1 if part is None else len(part)


class _Reader:
    """Reads a held record from its bytes, part by part."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        self._at += layout.size
        return layout.unpack_from(self._raw, self._at - layout.size)

    def part(self, length: int) -> bytes:
        self._at += length
        if self._at > len(self._raw):
            raise StateCorruptError(f"a held record ends after {len(self._raw)} bytes")
        return self._raw[self._at - length : self._at]

    def end(self) -> None:
        if self._at != len(self._raw):
            raise StateCorruptError(f"a held record goes on after {self._at} bytes")

    def part_or_none(self, length: int) -> bytes | None:
        return None if length < 0 else self.part(length)


def _decode(raw: bytes, partition: int, offset: int) -> Record:
    reader = _Reader(raw)
    try:
        timestamp_ms, topic, key, value, count = reader.numbers(_HEAD)
        record = Record(
            reader.part(topic).decode(),
            partition,
            offset,
            timestamp_ms,
            reader.part_or_none(key),
            reader.part_or_none(value),
            _headers(reader, count),
        )
        reader.end()
    except (struct.error, UnicodeDecodeError) as error:
        raise StateCorruptError(f"a held record is damaged: {error}") from error
    return record


def _headers(reader: _Reader, count: int) -> Headers:
    lengths = (reader.numbers(_LENGTHS) for _ in range(count))
    return tuple((reader.part(name).decode(), reader.part(value)) for name, value in lengths)
