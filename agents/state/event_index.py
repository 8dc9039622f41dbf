"""The index: which key and time an event has, by its id, for those that are asked about it later.

An id that is there already keeps what was said of it first. How long an event is kept, and how it
stands in the changelog, is said in `parts`; a part's value is its version (1 byte), arrival (8,
signed), then a JSON array of ids, keys and times, each an array.

    index = EventKeys(b"i", within_ms=60_000, entries_max=1_000)
    index.begin()
    index.add(["e1"], [Indexed("t3059", 1_000)], now_ms=0)
    index.get("e1")    # Indexed(key="t3059", event_time_ms=1000)
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from batuta.agents.state.parts import Part, PartTable
from batuta.schemas.errors import StateCorruptError

__all__ = ["PART_EVENTS_MAX", "EventKeys", "Indexed"]

#: So many events stand in one part at most: its record must stay below the changelog's bound.
PART_EVENTS_MAX: Final = 2_000
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">Bq")


class Indexed(NamedTuple):
    """What is known of an event by its id."""

    key: str
    event_time_ms: int


class EventKeys(PartTable[Indexed]):
    """A StateTable of the events of one lane."""

    def __init__(self, tag: bytes, within_ms: int, entries_max: int) -> None:
        super().__init__(tag, _IndexParts(), within_ms, entries_max)

    def add(self, ids: Sequence[str], events: Sequence[Indexed], now_ms: int) -> None:
        """Remember events, by their ids, from `now_ms` on."""
        added, known = self._open(now_ms).added, self._known
        for name, event in zip(ids, events, strict=True):
            if name not in known:
                known[name] = event
                added.append(name)

    def get(self, name: str) -> Indexed | None:
        """Return what is known of the event of this id, or None."""
        return self._known.get(name)


class _IndexParts:
    name = "part of the index"
    elder_holds = True

    def cut(self, ids: list[str]) -> Sequence[list[str]]:
        cuts = range(0, len(ids), PART_EVENTS_MAX)
        return [ids[begin : begin + PART_EVENTS_MAX] for begin in cuts]

    def encode(self, part: Part, values: Sequence[Indexed]) -> bytes:
        columns = (part.ids, [e.key for e in values], [e.event_time_ms for e in values])
        return _HEAD.pack(_VERSION, part.arrival_ms) + orjson.dumps(columns)

    def decode(self, value: bytes) -> tuple[Part, list[Indexed]]:
        if value[:1] != bytes([_VERSION]):
            raise StateCorruptError(
                f"a part of the index has version {value[:1].hex() or 'none'}, "
                f"this release reads {_VERSION}"
            )
        try:
            _, arrival_ms = _HEAD.unpack_from(value)
            ids, keys, times_ms = orjson.loads(value[_HEAD.size :])
            events = [Indexed(key, time_ms) for key, time_ms in zip(keys, times_ms, strict=True)]
        except (struct.error, orjson.JSONDecodeError, TypeError, ValueError) as error:
            raise StateCorruptError(f"a part of the index is damaged: {error}") from error
        if len(ids) != len(events):
            raise StateCorruptError(f"a part of the index names {len(ids)} ids, not {len(events)}")
        return Part(arrival_ms, ids), events
