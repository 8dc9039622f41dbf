"""The rings and their keys: names to slots, arrays that grow, records in and out."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from batuta.agents.state import Change
from batuta.agents.understanding.chunks import (
    CHUNK_KEY,
    HEAD_WORDS,
    Chunks,
    Written,
    rebuild,
)
from batuta.agents.understanding.rings import (
    CHUNK_BITS,
    CHUNK_ENTRIES,
    Batch,
    Integers,
    Rings,
    drop_slot,
)
from batuta.schemas.errors import StateCorruptError

__all__ = ["RingStore"]

_SLOTS_MIN = 1024
_PLACES_MIN = 8192
_WORD_BYTES = 8
#: Sizes of segments are powers of two below two to this.
_CLASSES = 48


class RingStore:
    """The arrays of one table of windows, and which slot of them belongs to which name."""

    def __init__(self, *, with_mean: bool) -> None:
        self.slots: dict[str, int] = _Slots(self._new_slot)
        self.new_slots: list[int] = []
        self.seen_ms = np.zeros(_SLOTS_MIN, np.int64)
        self._names: list[str] = []
        self._unused: list[int] = []
        self.rings = _empty_rings(with_mean=with_mean)
        self.batch = _empty_batch()

    def slots_of(self, names: Sequence[str]) -> Integers:
        """Return the slot of each name, new names included."""
        slots = np.fromiter(map(self.slots.__getitem__, names), np.int64, len(names))
        while len(self._names) > len(self.seen_ms):
            self._grow_slots()
        return slots

    def touched(self) -> Integers:
        """Return the slots that the open batch appended to."""
        return self.batch.slots[: self.batch.touched[0]]

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

    def drop(self, slots: Iterable[int]) -> None:
        """Forget slots and their names."""
        for slot in slots:
            del self.slots[self._names[slot]]
            self._names[slot] = ""
            drop_slot(self.rings, slot)
            self._unused.append(slot)

    def close_batch(self) -> None:
        """Forget how the touched slots were before."""
        self.batch.mark[self.touched()] = 0
        self.batch.touched[0] = 0
        self.new_slots.clear()

    def idle_since(self, seen_ms: int) -> list[int]:
        """Return the slots last seen before `seen_ms`, by name."""
        slots = self.all_slots()
        idle = slots[(self.seen_ms[slots] < seen_ms) & (self.batch.mark[slots] == 0)]
        return sorted(idle.tolist(), key=self._names.__getitem__)

    def room_to_write(self) -> Written:
        """Return room for everything that writing the open batch can give."""
        rings, slots = self.rings, self.touched()
        saved = self.batch.next_number[: len(slots)]
        base = saved & -CHUNK_ENTRIES
        numbers = rings.next_number[slots] - base
        chunks = int(np.sum((numbers >> CHUNK_BITS) + 1))
        tombstones = int(np.sum((base >> CHUNK_BITS) + 1 - rings.first_chunk[slots]))
        per_entry = 2 if len(rings.totals) > 1 else 1
        words = int(np.sum(numbers)) * per_entry + chunks * HEAD_WORDS
        records = chunks + tombstones
        return Written(
            words=np.empty(words, np.int64),
            slots=np.empty(records, np.int64),
            chunks=np.empty(records, np.int64),
            begins=np.empty(records, np.int64),
            ends=np.empty(records, np.int64),
            places=np.empty(int(np.max(numbers, initial=0)), np.int64),
        )

    def records(self, tag: bytes, written: Written, count: int) -> list[Change]:
        """Return the first `count` written records as changes."""
        if count == 0:
            return []
        end = written.ends[count - 1]
        data = written.words[:end].astype("<i8", copy=False).tobytes()
        names, pack = self._names, CHUNK_KEY.pack
        rows = zip(
            written.slots[:count].tolist(),
            written.chunks[:count].tolist(),
            (written.begins[:count] * _WORD_BYTES).tolist(),
            (written.ends[:count] * _WORD_BYTES).tolist(),
            strict=True,
        )
        return [
            (tag + pack(chunk) + names[slot].encode(), data[begin:end] or None)
            for slot, chunk, begin, end in rows
        ]

    def tombstones(self, tag: bytes, slots: Iterable[int]) -> list[Change]:
        """Return the tombstones of all chunks of `slots`."""
        ended: list[Change] = []
        for slot in slots:
            name, end = self._names[slot].encode(), int(self.rings.next_number[slot])
            numbers = range(int(self.rings.first_chunk[slot]), (end - 1 >> CHUNK_BITS) + 1)
            ended.extend((tag + CHUNK_KEY.pack(number) + name, None) for number in numbers)
        return ended

    def rebuild(self, records: Mapping[bytes, bytes]) -> None:
        """Take back the chunks of a changelog.

        Raises:
            StateCorruptError: a name is not UTF-8, or a chunk between two others is missing.
        """
        head = 1 + CHUNK_KEY.size
        slots = self.slots_of([_name(key[head:]) for key in records])
        numbers = np.frombuffer(b"".join([key[1:head] for key in records]), ">u8").astype(np.int64)
        lengths = np.fromiter(map(len, records.values()), np.int64, len(records)) // _WORD_BYTES
        words = np.frombuffer(b"".join(records.values()), "<i8").astype(np.int64)
        begins = np.cumsum(lengths) - lengths
        np.maximum.at(self.seen_ms, slots, words[begins + 1])
        order = np.lexsort((numbers, slots))
        source = Chunks(words, slots[order], numbers[order], begins[order], _zeros(2))
        gaps = (np.diff(source.slots) == 0) & (np.diff(source.chunks) != 1)
        if bool(np.any(gaps)):
            name = self._names[source.slots[int(np.argmax(gaps))]]
            raise StateCorruptError(f"the changelog misses a window chunk of {name!r}")
        while not rebuild(self.rings, source):
            self.grow()
        self.new_slots.clear()

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
        rings, batch = self.rings, self.batch
        self.seen_ms = _doubled(self.seen_ms)
        self.rings = rings._replace(
            start=_doubled(rings.start),
            capacity=_doubled(rings.capacity),
            low=_doubled(rings.low),
            high=_doubled(rings.high),
            next_number=_doubled(rings.next_number),
            first_chunk=_doubled(rings.first_chunk),
        )
        self.batch = batch._replace(
            mark=_doubled(batch.mark),
            slots=_doubled(batch.slots),
            next_number=_doubled(batch.next_number),
            latest=_doubled(batch.latest),
        )


class _Slots(dict[str, int]):
    """A mapping that gives an unknown name its slot at once, at the speed of a plain look-up."""

    def __init__(self, new_slot: Callable[[str], int]) -> None:
        super().__init__()
        self._new_slot = new_slot

    def __missing__(self, name: str) -> int:
        slot = self[name] = self._new_slot(name)
        return slot


def _empty_rings(*, with_mean: bool) -> Rings:
    return Rings(
        times=_zeros(_PLACES_MIN),
        totals=_zeros(_PLACES_MIN if with_mean else 1),
        numbers=_zeros(_PLACES_MIN),
        latest=_zeros(_PLACES_MIN // 8),
        start=_zeros(_SLOTS_MIN),
        capacity=_zeros(_SLOTS_MIN),
        low=_zeros(_SLOTS_MIN),
        high=_zeros(_SLOTS_MIN),
        next_number=_zeros(_SLOTS_MIN),
        first_chunk=_zeros(_SLOTS_MIN),
        free=np.full(_CLASSES, -1, np.int64),
        used=_zeros(2),
    )


def _empty_batch() -> Batch:
    return Batch(
        mark=_zeros(_SLOTS_MIN),
        slots=_zeros(_SLOTS_MIN),
        next_number=_zeros(_SLOTS_MIN),
        latest=_zeros(_SLOTS_MIN),
        touched=_zeros(1),
    )


def _zeros(length: int) -> Integers:
    return np.zeros(length, np.int64)


def _doubled(array: Integers) -> Integers:
    return np.concatenate((array, np.zeros_like(array)))


def _name(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise StateCorruptError(f"the name of a window chunk is not UTF-8: {data!r}") from error
