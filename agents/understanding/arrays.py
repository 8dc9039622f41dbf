"""The rings and their keys: names to slots, arrays that grow, records in and out."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

import numpy as np

from batuta.agents.state.port import Change
from batuta.agents.understanding.chunks import (
    CHUNK_KEY,
    COUNT_BYTE,
    HEAD_WORDS,
    Chunks,
    Written,
    rebuild,
    write,
)
from batuta.agents.understanding.rings import (
    CHUNK_BITS,
    CHUNK_ENTRIES,
    FIRST,
    FREE,
    HEAD_COLUMNS,
    HIGH,
    LOW,
    MARK,
    NEXT,
    NONE,
    OPENED,
    SIZES,
    TOUCHED,
    UNDO_COLUMNS,
    UNDO_NEXT,
    UNDO_SEEN,
    UNDO_SLOT,
    Integers,
    Rings,
    drop_slot,
    prune,
    undo,
)
from batuta.schemas.errors import StateCorruptError

__all__ = ["RingStore"]

_SLOTS_MIN = 1024
_PLACES_MIN = 8192
_WORD_BYTES = 8
_DUMPED_AT_ONCE = 4_096
_REBUILT_AT_ONCE = 10_000


class RingStore:
    """The arrays of one table of windows, and which slot of them belongs to which name."""

    def __init__(self, *, with_mean: bool) -> None:
        self.slots: dict[str, int] = _Slots(self._new_slot)
        self.new_slots: list[int] = []
        self.seen_ms = np.zeros(_SLOTS_MIN, np.int64)
        self._names: list[str] = []
        self._unused: list[int] = []
        self.rings = _empty_rings(with_mean=with_mean)

    def slots_of(self, names: Sequence[str]) -> Integers:
        """Return the slot of each name, new names included."""
        slots = np.fromiter(map(self.slots.__getitem__, names), np.int64, len(names))
        while len(self._names) > len(self.seen_ms):
            self._grow_slots()
        return slots

    def all_slots(self) -> Integers:
        """Return every slot in use."""
        return np.fromiter(self.slots.values(), np.int64, len(self.slots))

    def grow(self) -> None:
        """Double the places for entries."""
        rings = self.rings
        summed = len(rings.totals) > 1
        self.rings = rings._replace(
            times=_doubled(rings.times),
            totals=_doubled(rings.totals) if summed else rings.totals,
            numbers=_doubled(rings.numbers),
            latest=_doubled(rings.latest),
        )

    # Batches

    def open_batch(self) -> int:
        """Open a batch; return the number of its first touch."""
        touch = self.rings.counts[OPENED] = self.rings.counts[TOUCHED]
        self.new_slots = []
        return int(touch)

    def room_to_touch(self, oldest: int, count: int) -> None:
        """Let the newest batch touch `count` slots more; from `oldest` on touches may be undone."""
        touched = int(self.rings.counts[TOUCHED])
        needed = touched - oldest + min(count, len(self._names))
        rows = len(self.rings.undo)
        if needed <= rows:
            return
        undo = _zeros(1 << (needed - 1).bit_length(), UNDO_COLUMNS)
        touches = np.arange(oldest, touched)
        undo[touches & (len(undo) - 1)] = self.rings.undo[touches & (rows - 1)]
        self.rings = self.rings._replace(undo=undo)

    def tell(self, now_ms: int) -> Integers:
        """Note that the newest batch saw its keys now; return its slots as `write` wants them.

        A clock that was ahead for a while is not taken back: chunks written then say so for ever,
        and a restored table believes the latest of a key's chunks.
        """
        rings = self.rings
        rows = self._rows(int(rings.counts[OPENED]), int(rings.counts[TOUCHED]))
        slots = rings.undo[rows, UNDO_SLOT]
        rings.undo[rows, UNDO_SEEN] = self.seen_ms[slots]
        self.seen_ms[slots] = np.maximum(self.seen_ms[slots], now_ms)
        return np.column_stack((slots, rings.undo[rows, UNDO_NEXT], self.seen_ms[slots]))

    def keep(self, begun: int, ended: int, retained_ms: int) -> None:
        """Forget what no window reaches of the slots that no batch behind the oldest touched."""
        slots = self.rings.undo[self._rows(begun, ended), UNDO_SLOT]
        last = self.rings.heads[slots, MARK] <= ended
        prune(self.rings, slots[last], retained_ms)

    def undo(self, oldest: int, retained_ms: int, *, told: bool) -> None:
        """Put back what the newest batch touched, names included, and prune what is settled."""
        rings = self.rings
        rows = self._rows(int(rings.counts[OPENED]), int(rings.counts[TOUCHED]))
        slots = rings.undo[rows, UNDO_SLOT]
        undo(rings)
        if told:
            self.seen_ms[slots] = rings.undo[rows, UNDO_SEEN]
        prune(rings, slots[rings.heads[slots, MARK] <= oldest], retained_ms)

    def _rows(self, begun: int, ended: int) -> Integers:
        return np.arange(begun, ended) & (len(self.rings.undo) - 1)

    # Names

    def hide(self, slots: Iterable[int]) -> None:
        """Let the names of slots be new names to the batches that follow."""
        for slot in slots:
            del self.slots[self._names[slot]]

    def show(self, slots: Iterable[int]) -> None:
        """Take hidden slots back."""
        for slot in slots:
            self.slots[self._names[slot]] = slot

    def drop(self, slots: Iterable[int]) -> None:
        """Forget hidden slots."""
        for slot in slots:
            self._names[slot] = ""
            drop_slot(self.rings, slot)
            self.seen_ms[slot] = 0
            self._unused.append(slot)

    def idle_since(self, seen_ms: int) -> list[int]:
        """Return the slots last seen before `seen_ms`, by name."""
        slots = self.all_slots()
        idle = slots[self.seen_ms[slots] < seen_ms]
        return sorted(idle.tolist(), key=self._names.__getitem__)

    # Records

    def changes(self, tag: bytes, slots: Integers, retained_ms: int) -> list[Change]:
        """Return what `slots`, rows as `write` wants them, hold."""
        room = self._room_to_write(slots)
        return self._records(tag, room, write(self.rings, retained_ms, slots, room))

    def dump(self, tag: bytes, retained_ms: int) -> Iterator[Change]:
        """Give everything held, some keys at a time."""
        heads, slots = self.rings.heads, self.all_slots()
        for begin in range(0, len(slots), _DUMPED_AT_ONCE):
            part = slots[begin : begin + _DUMPED_AT_ONCE]
            part = part[heads[part, HIGH] > heads[part, LOW]]
            first = heads[part, FIRST] << CHUNK_BITS
            rows = np.column_stack((part, first, self.seen_ms[part]))
            yield from self.changes(tag, rows, retained_ms)

    def _room_to_write(self, rows: Integers) -> Written:
        """Return room for everything that writing `rows` can give."""
        rings, slots = self.rings, rows[:, 0]
        base = rows[:, 1] & -CHUNK_ENTRIES
        numbers = rings.heads[slots, NEXT] - base
        chunks = int(np.sum((numbers >> CHUNK_BITS) + 1))
        tombstones = int(np.sum((base >> CHUNK_BITS) + 1 - rings.heads[slots, FIRST]))
        per_entry = 2 if len(rings.totals) > 1 else 1
        words = int(np.sum(numbers)) * per_entry + chunks * HEAD_WORDS
        records = chunks + tombstones
        return Written(
            words=np.empty(words, np.int64),
            rows=np.empty((records, 4), np.int64),
            places=np.empty(int(np.max(numbers, initial=0)), np.int64),
        )

    def _records(self, tag: bytes, written: Written, count: int) -> list[Change]:
        """Return the first `count` written records as changes."""
        if count == 0:
            return []
        end = int(written.rows[count - 1, 3])
        data = written.words[:end].astype("<i8", copy=False).tobytes()
        written.rows[:count, 2:] *= _WORD_BYTES
        names, pack = self._names, CHUNK_KEY.pack
        slots, numbers, begins, ends = written.rows[:count].T.tolist()
        return [
            (tag + pack(number) + names[slot].encode(), data[begin:end] or None)
            for slot, number, begin, end in zip(slots, numbers, begins, ends, strict=True)
        ]

    def tombstones(self, tag: bytes, slots: Iterable[int]) -> list[Change]:
        """Return the tombstones of all chunks of `slots`."""
        ended: list[Change] = []
        for slot in slots:
            name, end = self._names[slot].encode(), int(self.rings.heads[slot, NEXT])
            numbers = range(int(self.rings.heads[slot, FIRST]), (end - 1 >> CHUNK_BITS) + 1)
            ended.extend((tag + CHUNK_KEY.pack(number) + name, None) for number in numbers)
        return ended

    def rebuild(self, records: Mapping[bytes, bytes]) -> Iterator[None]:
        """Take back the chunks of a changelog, some of them at each step.

        Raises:
            StateCorruptError: a name is not UTF-8, or a chunk between two others is missing.
        """
        values = list(records.values())
        index = yield from self._index(list(records))
        self._make_room(sum(value[COUNT_BYTE] for value in values))
        begin = 0
        while begin < len(index):
            # A key's chunks stay together: the first of them says where the key begins.
            last = index[min(begin + _REBUILT_AT_ONCE, len(index)) - 1, 0]
            end = int(np.searchsorted(index[:, 0], last, side="right"))
            self._rebuild(index[begin:end], [values[row] for row in index[begin:end, 2].tolist()])
            begin = end
            yield
        self.new_slots = []

    def _index(self, keys: list[bytes]) -> Generator[None, None, Integers]:
        """Return one row per chunk, sorted: slot, chunk, place in `keys`."""
        head, parts = 1 + CHUNK_KEY.size, list[Integers]()
        for begin in range(0, len(keys), _REBUILT_AT_ONCE):
            part = keys[begin : begin + _REBUILT_AT_ONCE]
            slots = self.slots_of([_name(key[head:]) for key in part])
            numbers = np.frombuffer(b"".join([key[1:head] for key in part]), ">u8")
            places = np.arange(begin, begin + len(part))
            parts.append(np.column_stack((slots, numbers.astype(np.int64), places)))
            yield
        index = np.concatenate(parts)
        index = index[np.lexsort((index[:, 1], index[:, 0]))]
        gaps = (np.diff(index[:, 0]) == 0) & (np.diff(index[:, 1]) != 1)
        if bool(np.any(gaps)):
            name = self._names[int(index[int(np.argmax(gaps)), 0])]
            raise StateCorruptError(f"the changelog misses a window chunk of {name!r}")
        return index

    def _make_room(self, entries: int) -> None:
        """Grow now, while there is little to copy."""
        while len(self.rings.times) < 2 * entries:
            self.grow()

    def _rebuild(self, rows: Integers, values: list[bytes]) -> None:
        lengths = np.fromiter(map(len, values), np.int64, len(values)) // _WORD_BYTES
        words = np.frombuffer(b"".join(values), "<i8").astype(np.int64)
        begins = np.cumsum(lengths) - lengths
        np.maximum.at(self.seen_ms, rows[:, 0], words[begins + 1])
        source = Chunks(words, np.column_stack((rows[:, :2], begins)), _zeros(2))
        while not rebuild(self.rings, source):
            self.grow()

    def _new_slot(self, name: str) -> int:
        if self._unused:
            slot = self._unused.pop()
            self._names[slot] = name
        else:
            slot = len(self._names)
            self._names.append(name)
        self.new_slots.append(slot)
        return slot

    def _grow_slots(self) -> None:
        self.seen_ms = _doubled(self.seen_ms)
        self.rings = self.rings._replace(heads=_doubled(self.rings.heads))


class _Slots(dict[str, int]):
    """A mapping that gives an unknown name its slot at once, at the speed of a plain look-up."""

    def __init__(self, new_slot: Callable[[str], int]) -> None:
        super().__init__()
        self._new_slot = new_slot

    def __missing__(self, name: str) -> int:
        slot = self[name] = self._new_slot(name)
        return slot


def _empty_rings(*, with_mean: bool) -> Rings:
    rings = Rings(
        times=_zeros(_PLACES_MIN),
        totals=_zeros(_PLACES_MIN if with_mean else 1),
        numbers=_zeros(_PLACES_MIN),
        latest=_zeros(_PLACES_MIN // 8),
        heads=_zeros(_SLOTS_MIN, HEAD_COLUMNS),
        undo=_zeros(_SLOTS_MIN, UNDO_COLUMNS),
        counts=_zeros(FREE + SIZES),
    )
    rings.counts[FREE:] = NONE
    return rings


def _zeros(*shape: int) -> Integers:
    return np.zeros(shape, np.int64)


def _doubled(array: Integers) -> Integers:
    return np.concatenate((array, np.zeros_like(array)))


def _name(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise StateCorruptError(f"the name of a window chunk is not UTF-8: {data!r}") from error
