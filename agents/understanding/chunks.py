"""Chunks as they travel: what changed of the rings, or all of them, as records, and back.

A record's key is tag (1 byte), chunk number (8, big endian), name (UTF-8). Its value is made of
8-byte little endian words: version, kind (1 where amounts are kept), how many of the chunk's
numbers are used and how many entries follow (1 byte each); when the key was last seen by the
arrival clock; then per entry, by arrival, its time and where amounts are kept its amount. Entries
that no window can reach any more are left out.
"""

import struct
from typing import Final, NamedTuple

from batuta.agents.understanding.compiled import compiled
from batuta.agents.understanding.rings import (
    CHUNK_BITS,
    CHUNK_ENTRIES,
    FIRST,
    HIGH,
    LOW,
    NEXT,
    Integers,
    Rings,
    chunk_place,
    insert,
    make_room,
)
from batuta.schemas.errors import StateCorruptError

__all__ = [
    "CHUNK_KEY",
    "CHUNK_VERSION",
    "COUNT_BYTE",
    "HEAD_WORDS",
    "Chunks",
    "Written",
    "check_chunk",
    "rebuild",
    "write",
]

CHUNK_VERSION: Final = 1
CHUNK_KEY: Final = struct.Struct(">Q")
HEAD_WORDS: Final = 2
#: Which byte of a value tells how many entries follow.
COUNT_BYTE: Final = 3
_WORD_BYTES: Final = 8
_LONG_AGO: Final = -(2**63)


class Written(NamedTuple):
    """Room for the records of a batch.

    Attributes:
        words: the values, one behind the other.
        rows: one per record: slot, chunk, begin and end in `words`; a tombstone ends where it
            begins.
        places: scratch, one element per number of the largest key's rewritten chunks.
    """

    words: Integers
    rows: Integers
    places: Integers


class Chunks(NamedTuple):
    """Chunks to rebuild from.

    Attributes:
        words: the values, one behind the other.
        rows: one per chunk, sorted: slot, chunk, begin in `words`.
        cursor: the next chunk and the next of its entries.
    """

    words: Integers
    rows: Integers
    cursor: Integers


@compiled
def _find(rings: Rings, slot: int, base: int, oldest: int, places: Integers) -> None:
    """Note 1 + the place of each entry numbered `base` or later, 0 where it is out of reach."""
    wanted = rings.heads[slot, NEXT] - base
    places[:wanted] = 0
    place = rings.heads[slot, HIGH] - 1
    while wanted > 0 and place >= rings.heads[slot, LOW] and rings.times[place] > oldest:
        number = rings.numbers[place]
        if number >= base:
            places[number - base] = place + 1
            wanted -= 1
        place -= 1


@compiled
def _write_chunk(rings: Rings, words: Integers, begin: int, places: Integers, seen_ms: int) -> int:
    """Write the chunk whose entries stand at `places` (1 +, 0 for none); return its end."""
    summed = len(rings.totals) > 1
    end, count = begin + HEAD_WORDS, 0
    for place in places:
        if place == 0:
            continue
        words[end] = rings.times[place - 1]
        end += 1
        if summed:
            words[end] = rings.totals[place] - rings.totals[place - 1]
            end += 1
        count += 1
    words[begin] = CHUNK_VERSION | (int(summed) << 8) | (len(places) << 16) | (count << 24)
    words[begin + 1] = seen_ms
    return end


@compiled
def _note(row: Integers, slot: int, chunk: int, begin: int) -> None:
    """Note a record; a tombstone as long as nothing is written to it."""
    row[0], row[1], row[2], row[3] = slot, chunk, begin, begin


@compiled
def write(rings: Rings, retained_ms: int, slots: Integers, written: Written) -> int:
    """Write what slots hold from a number on, and the tombstones of chunks out of reach.

    Args:
        rings: the entries.
        retained_ms: how far behind a key's newest entry others are in reach.
        slots: one row per slot: the slot, the number from whose chunk on it is written, and when
            its key was last seen.
        written: takes the records.

    Returns:
        How many records were written.
    """
    records, end = 0, 0
    for index in range(len(slots)):
        slot, saved, seen_ms = int(slots[index, 0]), int(slots[index, 1]), int(slots[index, 2])
        next_number = int(rings.heads[slot, NEXT])
        if next_number == saved:
            continue
        oldest = int(rings.times[rings.heads[slot, HIGH] - 1]) - retained_ms
        head, chunk = (next_number - 1) >> CHUNK_BITS, int(rings.heads[slot, FIRST])
        while chunk < head and rings.latest[chunk_place(rings, slot, chunk)] <= oldest:
            if chunk << CHUNK_BITS < saved:
                _note(written.rows[records], slot, chunk, end)
                records += 1
            chunk += 1
        base = saved >> CHUNK_BITS << CHUNK_BITS
        _find(rings, slot, base, oldest, written.places)
        for changed in range(max(chunk, base >> CHUNK_BITS), head + 1):
            first = (changed << CHUNK_BITS) - base
            places = written.places[first : min(first + CHUNK_ENTRIES, next_number - base)]
            _note(written.rows[records], slot, changed, end)
            end = _write_chunk(rings, written.words, end, places, seen_ms)
            written.rows[records, 3] = end
            records += 1
    return records


@compiled
def rebuild(rings: Rings, source: Chunks) -> bool:
    """Insert the entries of chunks, sorted by number per slot, from the cursor on.

    Returns:
        False where the arrays must grow first; call again then.
    """
    summed = len(rings.totals) > 1
    step = 2 if summed else 1
    while source.cursor[0] < len(source.rows):
        index = int(source.cursor[0])
        slot, chunk = int(source.rows[index, 0]), int(source.rows[index, 1])
        begin = int(source.rows[index, 2])
        used, count = source.words[begin] >> 16 & 0xFF, source.words[begin] >> 24 & 0xFF
        if index == 0 or source.rows[index - 1, 0] != slot:
            rings.heads[slot, FIRST] = chunk
        rings.heads[slot, NEXT] = (chunk << CHUNK_BITS) + source.cursor[1]
        if count == 0:
            if not make_room(rings, slot):
                return False
            rings.latest[chunk_place(rings, slot, chunk)] = _LONG_AGO
        for entry in range(source.cursor[1], count):
            at = begin + HEAD_WORDS + entry * step
            amount = int(source.words[at + 1]) if summed else 0
            if insert(rings, slot, int(source.words[at]), amount) < 0:
                source.cursor[1] = entry
                return False
        rings.heads[slot, NEXT] = (chunk << CHUNK_BITS) + used
        source.cursor[0] += 1
        source.cursor[1] = 0
    return True


def check_chunk(value: bytes, *, with_mean: bool) -> None:
    """Check what can be checked of a chunk's value.

    Raises:
        StateCorruptError: it is of another version, of other windows, or damaged.
    """
    if len(value) < HEAD_WORDS * _WORD_BYTES:
        raise StateCorruptError(f"a window chunk of {len(value)} bytes is damaged")
    version, kind, used, count = value[:4]
    if version != CHUNK_VERSION:
        raise StateCorruptError(
            f"a window chunk has version {version}, this release reads {CHUNK_VERSION}"
        )
    if kind != int(with_mean):
        raise StateCorruptError(
            f"a window chunk is of kind {kind}, these windows keep kind {int(with_mean)}"
        )
    words = HEAD_WORDS + count * (2 if with_mean else 1)
    if not count <= used <= CHUNK_ENTRIES or used == 0 or len(value) != words * _WORD_BYTES:
        raise StateCorruptError(f"a window chunk of {len(value)} bytes is damaged")
