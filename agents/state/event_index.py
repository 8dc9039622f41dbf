"""The index: which key and time an event has, by its id, for those that are asked about it later.

What one batch adds is one part: one changelog record, dropped whole with one tombstone when it has
been kept for `within_ms` by the clock, or when more than `entries_max` events are held and it is
among the oldest: the smaller horizon holds. An id that is there already keeps what was said of it
first.

Changelog: key `tag` + number of the part (8 bytes, big endian); value version (1 byte), arrival
(8, signed), then a JSON array of ids, keys and times, each an array.

    index = EventKeys(b"i", within_ms=60_000, entries_max=1_000)
    index.begin()
    index.add(["e1"], [Indexed("t3059", 1_000)], now_ms=0)
    index.get("e1")    # Indexed(key="t3059", event_time_ms=1000)
"""

import struct
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError

__all__ = ["PART_EVENTS_MAX", "EventKeys", "Indexed"]

#: So many events stand in one part at most: its record must stay below the changelog's bound.
PART_EVENTS_MAX: Final = 2_000
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">Bq")
_NUMBER: Final = struct.Struct(">Q")


class Indexed(NamedTuple):
    """What is known of an event by its id."""

    key: str
    event_time_ms: int


@dataclass(slots=True)
class _Part:
    arrival_ms: int
    ids: list[str]


@dataclass(slots=True)
class _Layer:
    """One open batch: the ids it added, the parts it made of them, and those it dropped."""

    added: list[str] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    dropped: dict[int, tuple[_Part, list[Indexed]]] = field(default_factory=dict)
    told: bool = False


class EventKeys:
    """A StateTable of the events of one lane."""

    def __init__(self, tag: bytes, within_ms: int, entries_max: int) -> None:
        assert len(tag) == 1, tag
        assert within_ms > 0, within_ms
        assert entries_max > 0, entries_max
        self.tag = tag
        self._within_ms = within_ms
        self._entries_max = entries_max
        self._known: dict[str, Indexed] = {}
        self._parts: OrderedDict[int, _Part] = OrderedDict()
        self._loaded: dict[int, tuple[_Part, list[Indexed]]] = {}
        self._layers: deque[_Layer] = deque()

    def add(self, ids: Sequence[str], events: Sequence[Indexed], now_ms: int) -> None:
        """Remember events, by their ids, from `now_ms` on."""
        assert self._layers, "add belongs between begin and commit"
        layer = self._layers[-1]
        assert not layer.told, "the batch has told its changes"
        self._drop(layer, now_ms)
        known = self._known
        for name, event in zip(ids, events, strict=True):
            if name not in known:
                known[name] = event
                layer.added.append(name)

    def get(self, name: str) -> Indexed | None:
        """Return what is known of the event of this id, or None."""
        return self._known.get(name)

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._layers or self._layers[-1].told, "the last batch told no changes"
        deque(self.settle(), maxlen=0)
        self._layers.append(_Layer())

    def changes(self, now_ms: int) -> list[Change]:
        """Return the parts this batch added and the tombstones of those that are kept no longer."""
        layer = self._layers[-1]
        assert not layer.told, "changes are told once"
        layer.told = True
        self._drop(layer, now_ms)
        ended: list[Change] = [(self._key(number), None) for number in sorted(layer.dropped)]
        added: list[Change] = []
        # By what is held alone, so that a lane that restarted numbers as one that did not.
        first = 1 + max(next(reversed(self._parts), -1), max(layer.dropped, default=-1))
        ids = layer.added
        cuts = range(0, len(ids), PART_EVENTS_MAX)
        for number, begin in enumerate(cuts, first):
            part = self._parts[number] = _Part(now_ms, ids[begin : begin + PART_EVENTS_MAX])
            layer.parts.append(number)
            added.append((self._key(number), self._encode(part)))
        return ended + added

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        layer = self._layers.popleft()
        assert layer.told, "a batch is kept once it has told its changes"

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        layer = self._layers.pop()
        for number in layer.parts:
            del self._parts[number]
        for name in layer.added:
            del self._known[name]
        for number, (part, events) in reversed(layer.dropped.items()):
            self._known.update(zip(part.ids, events, strict=True))
            self._parts[number] = part
            self._parts.move_to_end(number, last=False)

    def dump(self) -> Iterator[Change]:
        """Give every part held, as changelog records."""
        assert not self._layers, "a batch is open"
        deque(self.settle(), maxlen=0)
        return ((self._key(number), self._encode(part)) for number, part in self._parts.items())

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record, in any order in which a compacted topic may give them.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        assert not self._parts, "load comes before the first batch"
        if len(key) != 1 + _NUMBER.size or key[:1] != self.tag:
            raise StateCorruptError(f"changelog key {key[:32]!r} names no part of the index")
        (number,) = _NUMBER.unpack(key[1:])
        if value is None:
            self._loaded.pop(number, None)
        else:
            self._loaded[number] = _decode(value)

    def entries(self) -> int:
        """Return how many events are held; while loading, how many were read."""
        return len(self._known) + sum(len(part.ids) for part, _ in self._loaded.values())

    def settle(self) -> Iterator[None]:
        """Build the table from what was loaded; of an id in two parts the older one holds."""
        for number in sorted(self._loaded):
            part, events = self._loaded[number]
            fresh = [(n, e) for n, e in zip(part.ids, events, strict=True) if n not in self._known]
            self._known.update(fresh)
            self._parts[number] = _Part(part.arrival_ms, [name for name, _ in fresh])
            yield
        self._loaded.clear()

    def _drop(self, layer: _Layer, now_ms: int) -> None:
        while self._parts:
            number = next(iter(self._parts))
            ended = self._parts[number].arrival_ms + self._within_ms <= now_ms
            if not ended and len(self._known) <= self._entries_max:
                return
            part = self._parts.pop(number)
            layer.dropped[number] = (part, [self._known.pop(name) for name in part.ids])

    def _key(self, number: int) -> bytes:
        return self.tag + _NUMBER.pack(number)

    def _encode(self, part: _Part) -> bytes:
        events = [self._known[name] for name in part.ids]
        columns = (part.ids, [e.key for e in events], [e.event_time_ms for e in events])
        return _HEAD.pack(_VERSION, part.arrival_ms) + orjson.dumps(columns)


def _decode(value: bytes) -> tuple[_Part, list[Indexed]]:
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
    return _Part(arrival_ms, ids), events
