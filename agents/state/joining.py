"""A join: items of two sides with one key, and times no further apart than a bound, make a pair.

An item waits for its other side until the watermark has passed the last time at which that may
come; then it is given out alone, as `partial`. An item pairs once, with the earliest that waits.
What was given out is remembered for `remember_ms` of event time more: the same id of the same side
and key again is a `duplicate`, and an item whose other side went out alone is `unmatched` at once,
as is one that comes when its own time is over. So each item ends in one pair, one partial or one
unmatched.

The timers of the items stand in the lane's `Timers`, under the kind `Join.kind`: what is due there
is handed to `fired`, in the batch that took it out.

Changelog: key `tag` + side (`l` or `r`), length of the key in characters, `:`, key and id, in
UTF-8; value, after the keyed table's version: what became of it (1 byte: 1 waits, 2 paired, 3
alone), event time (8, signed, big endian), and while it waits the item's bytes.

    join = Join(b"j", "labels", timers, Bounds(within_ms=60_000, remember_ms=60_000))
    join.offer("left", Item("c1", "e1", 1_000, b"event"), watermark_ms=0)     # waiting
    join.offer("right", Item("c1", "l1", 31_000, b"label"), watermark_ms=0)   # pair: both items
"""

import struct
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from batuta.agents.state.codecs import TEXT, Codec
from batuta.agents.state.listed import ListedTable
from batuta.agents.state.timers import Firing, Timer, Timers
from batuta.schemas.errors import StateCorruptError

__all__ = ["Bounds", "Item", "Join", "Joined", "Side", "Verdict"]

Side = Literal["left", "right"]
Verdict = Literal["waiting", "duplicate", "pair", "partial", "unmatched"]

_WAITS, _PAIRED, _ALONE = 1, 2, 3
_HEAD: Final = struct.Struct(">Bq")
_SIDES: Final[dict[str, Side]] = {"l": "left", "r": "right"}
_OTHER: Final[dict[Side, Side]] = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True)
class Item:
    """One item of one side.

    Attributes:
        key: what both sides have in common.
        id: tells it from the other items of its side and key.
        event_time_ms: milliseconds since 1970 UTC.
        value: handed back unread.
    """

    key: str
    id: str
    event_time_ms: int
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of an item; a side that is not there is None."""

    verdict: Verdict
    left: Item | None = None
    right: Item | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the sides of a pair may lie apart, and how much is kept.

    Attributes:
        within_ms: between the event times of a pair at most.
        remember_ms: how much longer, in event time, an item is known that was given out.
        entries_max: items that wait or are remembered.
    """

    within_ms: int
    remember_ms: int
    entries_max: int = 1_000_000


class _Slot(NamedTuple):
    became: int
    event_time_ms: int
    value: bytes


class _SlotEncoding:
    def encode(self, thing: _Slot, /) -> bytes:
        return _HEAD.pack(thing.became, thing.event_time_ms) + thing.value

    def decode(self, raw: bytes, /) -> _Slot:
        try:
            became, event_time_ms = _HEAD.unpack_from(raw)
        except struct.error as error:
            raise StateCorruptError(f"an item of a join has {len(raw)} bytes") from error
        if became not in {_WAITS, _PAIRED, _ALONE}:
            raise StateCorruptError(f"an item of a join became {became}, which is not known")
        return _Slot(became, event_time_ms, raw[_HEAD.size :])


#: Per key, side and what became of them: times and ids, sorted.
_Rows = dict[tuple[str, Side, int], list[tuple[int, str]]]


class Join(ListedTable[str, _Slot]):
    """A StateTable of the items of one join in one lane."""

    def __init__(self, tag: bytes, name: str, timers: Timers, bounds: Bounds) -> None:
        """Open an empty join.

        Args:
            tag: the first byte of its changelog keys.
            name: names its timers, and the table in errors; stable.
            timers: of the same lane, and in the same batch.
            bounds: how far and how much.
        """
        assert bounds.within_ms >= 0, bounds
        assert bounds.remember_ms >= 0, bounds
        self.kind = kind = f"join {name}"
        super().__init__(tag, Codec(TEXT, _SlotEncoding()), kind, entries_max=bounds.entries_max)
        self._bounds = bounds
        self._timers = timers
        self._rows: _Rows = defaultdict(list)
        self._waiting = 0

    def offer(self, side: Side, item: Item, watermark_ms: int) -> Joined:
        """Take in one item; say what becomes of it.

        Returns:
            `pair` with both items, or this one alone: `waiting`, `duplicate`, `unmatched`.

        Raises:
            StateFullError: this join, or the lane's timers, are at their bound.
        """
        name = _name(side, item)
        if name in self._table:
            return _joined("duplicate", side, item)
        other = self._near(item, _OTHER[side], _WAITS)
        if other is not None:
            paired = self._item(_OTHER[side], item.key, other)
            self._close(_name(_OTHER[side], paired), _PAIRED, paired.event_time_ms)
            self._close(name, _PAIRED, item.event_time_ms)
            left, right = (item, paired) if side == "left" else (paired, item)
            return Joined("pair", left, right)
        over = self._over_ms(item.event_time_ms) <= watermark_ms
        if over or self._near(item, _OTHER[side], _ALONE) is not None:
            self._close(name, _ALONE, item.event_time_ms)
            return _joined("unmatched", side, item)
        self._write(name, _Slot(_WAITS, item.event_time_ms, item.value))
        self._call(name, self._over_ms(item.event_time_ms))
        return _joined("waiting", side, item)

    def fired(self, firing: Firing) -> Joined | None:
        """Give out the item of this timer as `partial`, or forget it if it was given out before."""
        assert firing.kind == self.kind, firing.kind
        slot = self._table.get(firing.key)
        if slot is None:
            return None
        if slot.became != _WAITS:
            # A timer that was taken out before its item paired must not forget the pair.
            if firing.due_ms >= self._forgotten_ms(slot.event_time_ms):
                self._write(firing.key, None)
            return None
        self._close(firing.key, _ALONE, slot.event_time_ms)
        side, key, item_id = _split(firing.key)
        return _joined("partial", side, Item(key, item_id, slot.event_time_ms, slot.value))

    def waiting(self) -> int:
        """Return how many items wait for their other side."""
        return self._waiting

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        for name in self._table.touched():
            self._unlist(name)
        super().rollback()

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or shape this code does not know.
        """
        for key, value in zip(keys, values, strict=True):
            name = TEXT.decode(key[1:])
            _split(name)
            self._unlist(name)
            self._table.load(key, value)
            self._relist(name)

    def _near(self, item: Item, side: Side, became: int) -> tuple[int, str] | None:
        """Return time and id of the earliest of `side` that is near enough to `item`."""
        row = self._rows.get((item.key, side, became), [])
        at = bisect_left(row, (item.event_time_ms - self._bounds.within_ms, ""))
        near = at < len(row) and row[at][0] <= item.event_time_ms + self._bounds.within_ms
        return row[at] if near else None

    def _item(self, side: Side, key: str, at: tuple[int, str]) -> Item:
        item = Item(key, at[1], at[0])
        slot = self._table.get(_name(side, item))
        assert slot is not None, "a row lists what the table holds"
        return Item(key, item.id, item.event_time_ms, slot.value)

    def _over_ms(self, event_time_ms: int) -> int:
        """Return the watermark at which the other side can no longer come."""
        return event_time_ms + self._bounds.within_ms + 1

    def _forgotten_ms(self, event_time_ms: int) -> int:
        """Return the watermark at which an item that was given out is forgotten."""
        return self._over_ms(event_time_ms) + self._bounds.remember_ms

    def _close(self, name: str, became: int, event_time_ms: int) -> None:
        """Remember what became of an item until nobody can ask for it."""
        self._write(name, _Slot(became, event_time_ms, b""))
        self._call(name, self._forgotten_ms(event_time_ms))

    def _call(self, name: str, due_ms: int) -> None:
        self._timers.set(Timer(self.kind, name, due_ms, "event"))

    def _write(self, name: str, slot: _Slot | None) -> None:
        self._unlist(name)
        if slot is None:
            self._table.delete(name)
        else:
            self._table.put(name, slot)
        self._relist(name)

    def _relist(self, key: str) -> None:
        slot = self._table.get(key)
        if slot is not None and slot.became != _PAIRED:
            side, entity, item_id = _split(key)
            self._waiting += slot.became == _WAITS
            insort(self._rows[entity, side, slot.became], (slot.event_time_ms, item_id))

    def _unlist(self, name: str) -> None:
        slot = self._table.get(name)
        if slot is not None and slot.became != _PAIRED:
            side, key, item_id = _split(name)
            self._waiting -= slot.became == _WAITS
            row = self._rows[key, side, slot.became]
            del row[bisect_left(row, (slot.event_time_ms, item_id))]
            if not row:
                del self._rows[key, side, slot.became]


def _joined(verdict: Verdict, side: Side, item: Item) -> Joined:
    return Joined(verdict, left=item) if side == "left" else Joined(verdict, right=item)


def _name(side: Side, item: Item) -> str:
    return f"{side[0]}{len(item.key)}:{item.key}{item.id}"


def _split(name: str) -> tuple[Side, str, str]:
    """Return side, key and id."""
    length, _, rest = name[1:].partition(":")
    if name[:1] not in _SIDES or not length.isdecimal() or int(length) > len(rest):
        raise StateCorruptError(f"{name[:32]!r} names no item of a join")
    end = int(length)
    return _SIDES[name[0]], rest[:end], rest[end:]
