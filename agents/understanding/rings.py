"""The memory under trailing windows: each key's entries, sorted by time, in shared arrays.

A key (a slot number here) owns one segment of the shared arrays: `capacity` places from `start`,
its entries at `low` to `high` (exclusive), sorted by time, equal times by arrival. Segments double
when full and are reused by size once free, so a live entry is never overwritten. `totals[i]` is the
sum of the key's amounts before entry i, and `totals[high]` that of all: any range sums in one step.

Entries are numbered by arrival, per key; `CHUNK_ENTRIES` consecutive numbers are a chunk, the unit
of the changelog. A chunk is only ever appended to, wherever its entries lie in time, so a late
event rewrites no other chunk. `latest` holds each chunk's newest time, from `first_chunk` on.

The functions are compiled and trust their caller: `batuta.agents.understanding.windows`.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.compiled import compiled

__all__ = [
    "AMOUNT_UNITS",
    "CAPACITY",
    "CAPACITY_MIN",
    "CHUNK_BITS",
    "CHUNK_ENTRIES",
    "ENTRIES",
    "FIRST",
    "FREE",
    "HEAD_COLUMNS",
    "HIGH",
    "LOW",
    "MARK",
    "NEXT",
    "NONE",
    "OPENED",
    "SIZES",
    "TOUCHED",
    "UNDO_COLUMNS",
    "UNDO_NEXT",
    "UNDO_SEEN",
    "UNDO_SLOT",
    "Events",
    "Integers",
    "Rings",
    "Rule",
    "chunk_place",
    "drop_slot",
    "first_after",
    "insert",
    "make_room",
    "observe",
    "prune",
    "touch",
    "undo",
]

Integers = npt.NDArray[np.int64]

#: Amounts are kept as whole ten-thousandths, so that sums are exact in any order.
AMOUNT_UNITS: Final = 10_000
CHUNK_ENTRIES: Final = 16
CHUNK_BITS: Final = 4
#: A segment's chunks: one place for every eight entries, as segments may hold late entries.
_PLACE_BITS: Final = 3
CAPACITY_MIN: Final = 8
NONE: Final = -1


class Rings(NamedTuple):
    """All keys' entries, and what undoes the open batches.

    Attributes:
        times, totals, numbers: one element per entry place; `totals` is one element long where
            no mean is asked for.
        latest: one element per eight entry places.
        heads: one row per slot, a cache line: `START` to `MARK`.
        undo: one row per slot and open batch that touched it, `UNDO_SLOT` to `UNDO_SEEN`: what they
            were before that batch. Touches are numbered for ever; a number's row is its remainder
            by the length, a power of two.
        counts: how many entry places were ever given out (`USED`), entries are held (`ENTRIES`),
            slots were touched (`TOUCHED`) and had been when the newest open batch began
            (`OPENED`); from `FREE` on the first free segment per size or `NONE`, whose first time
            names the next one.
    """

    times: Integers
    totals: Integers
    numbers: Integers
    latest: Integers
    heads: Integers
    undo: Integers
    counts: Integers


#: Columns of `heads`: where a segment starts, how long it is, where its entries begin and end, the
#: next arrival's number, the first chunk kept, 1 + the number of the latest touch (0: none).
START, CAPACITY, LOW, HIGH, NEXT, FIRST, MARK = range(7)
HEAD_COLUMNS: Final = 8
#: Columns of `undo`: the slot; its next number, its last chunk's latest time, its mark, and when it
#: was last seen, as they were.
UNDO_SLOT, UNDO_NEXT, UNDO_LATEST, UNDO_MARK, UNDO_SEEN = range(5)
UNDO_COLUMNS: Final = 5
#: Elements of `counts`.
USED, ENTRIES, TOUCHED, OPENED, FREE = range(5)
#: Segment sizes are powers of two below two to this.
SIZES: Final = 48


class Events(NamedTuple):
    """Events to take in, and where their features go: one element or row per event."""

    slots: Integers
    times: Integers
    amounts: Integers
    features: npt.NDArray[np.float64]


class Rule(NamedTuple):
    """The windows' widths, how far behind a key's newest entry others are kept, and the bound."""

    windows_ms: Integers
    retained_ms: int
    entries_max: int


@compiled
def chunk_place(rings: Rings, slot: int, chunk: int) -> int:
    """Return where `latest` holds a chunk of a slot."""
    places = rings.heads[slot, CAPACITY] >> _PLACE_BITS
    return int((rings.heads[slot, START] >> _PLACE_BITS) + (chunk & (places - 1)))


@compiled
def _class_of(size: int) -> int:
    level = 0
    while (1 << level) < size:
        level += 1
    return level


@compiled
def _take_segment(rings: Rings, size: int) -> int:
    """Return the start of an unused segment, or NONE where the arrays must grow first."""
    level = _class_of(size)
    start = rings.counts[FREE + level]
    if start != NONE:
        rings.counts[FREE + level] = rings.times[start]
        return int(start)
    start = rings.counts[USED]
    if start + size > len(rings.times):
        return NONE
    rings.counts[USED] = start + size
    return int(start)


@compiled
def _release_segment(rings: Rings, start: int, size: int) -> None:
    level = _class_of(size)
    rings.times[start] = rings.counts[FREE + level]
    rings.counts[FREE + level] = start


@compiled
def _move(rings: Rings, slot: int, target: int) -> None:
    """Copy a slot's entries to `target`: below them, or in another segment."""
    low, high = rings.heads[slot, LOW], rings.heads[slot, HIGH]
    for i in range(high - low):
        rings.times[target + i] = rings.times[low + i]
        rings.numbers[target + i] = rings.numbers[low + i]
    if len(rings.totals) > 1:
        for i in range(high - low + 1):
            rings.totals[target + i] = rings.totals[low + i]
    rings.heads[slot, LOW] = target
    rings.heads[slot, HIGH] = target + high - low


@compiled
def _resize(rings: Rings, slot: int, size: int) -> bool:
    """Move a slot to a segment of `size`; False where the arrays must grow first."""
    target = _take_segment(rings, size)
    if target == NONE:
        return False
    start, capacity = rings.heads[slot, START], rings.heads[slot, CAPACITY]
    if capacity == 0:
        rings.heads[slot, LOW] = rings.heads[slot, HIGH] = target
        if len(rings.totals) > 1:
            rings.totals[target] = 0
    else:
        head = (rings.heads[slot, NEXT] - 1) >> CHUNK_BITS
        for chunk in range(rings.heads[slot, FIRST], head + 1):
            place = (target >> _PLACE_BITS) + (chunk & ((size >> _PLACE_BITS) - 1))
            rings.latest[place] = rings.latest[chunk_place(rings, slot, chunk)]
        _move(rings, slot, target)
        _release_segment(rings, start, capacity)
    rings.heads[slot, START] = target
    rings.heads[slot, CAPACITY] = size
    return True


@compiled
def make_room(rings: Rings, slot: int) -> bool:
    """Leave place for one more entry behind a slot's last; False where the arrays must grow."""
    capacity, live = rings.heads[slot, CAPACITY], rings.heads[slot, HIGH] - rings.heads[slot, LOW]
    chunks = (rings.heads[slot, NEXT] >> CHUNK_BITS) - rings.heads[slot, FIRST] + 1
    wanted = max(capacity, CAPACITY_MIN)
    while live + 2 > wanted or chunks > wanted >> _PLACE_BITS:
        wanted *= 2
    if wanted == capacity:
        if rings.heads[slot, HIGH] + 1 < rings.heads[slot, START] + capacity:
            return True
        if 2 * live <= capacity:
            _move(rings, slot, rings.heads[slot, START])
            return True
        wanted *= 2
    return _resize(rings, slot, wanted)


@compiled
def insert(rings: Rings, slot: int, time: int, amount: int) -> int:
    """Put an entry in its place by time, behind its equals.

    Returns:
        Its place, or -1 where the arrays must grow first and nothing was changed.
    """
    if not make_room(rings, slot):
        return NONE
    low, high = rings.heads[slot, LOW], rings.heads[slot, HIGH]
    summed = len(rings.totals) > 1
    if summed:
        rings.totals[high + 1] = rings.totals[high] + amount
    place = high
    while place > low and rings.times[place - 1] > time:
        rings.times[place] = rings.times[place - 1]
        rings.numbers[place] = rings.numbers[place - 1]
        if summed:
            rings.totals[place] = rings.totals[place - 1] + amount
        place -= 1
    number = rings.heads[slot, NEXT]
    rings.times[place] = time
    rings.numbers[place] = number
    rings.heads[slot, HIGH] = high + 1
    rings.heads[slot, NEXT] = number + 1
    rings.counts[ENTRIES] += 1
    at = chunk_place(rings, slot, number >> CHUNK_BITS)
    if number & (CHUNK_ENTRIES - 1) == 0 or rings.latest[at] < time:
        rings.latest[at] = time
    return int(place)


@compiled
def touch(rings: Rings, slot: int) -> None:
    """Note how a slot is before the newest open batch changes it; the caller made room."""
    if rings.heads[slot, MARK] > rings.counts[OPENED]:
        return
    touch, number = rings.counts[TOUCHED], rings.heads[slot, NEXT]
    row = touch & (len(rings.undo) - 1)
    rings.undo[row, UNDO_SLOT] = slot
    rings.undo[row, UNDO_NEXT] = number
    rings.undo[row, UNDO_MARK] = rings.heads[slot, MARK]
    if number > 0:
        head = (number - 1) >> CHUNK_BITS
        rings.undo[row, UNDO_LATEST] = rings.latest[chunk_place(rings, slot, head)]
    rings.counts[TOUCHED] = rings.heads[slot, MARK] = touch + 1


@compiled
def first_after(rings: Rings, low: int, high: int, time: int) -> int:
    """Return the first place of `low` to `high` whose entry is later than `time`."""
    while low < high:
        middle = (low + high) >> 1
        if rings.times[middle] > time:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _measure(rings: Rings, place: int, low: int, rule: Rule, row: npt.NDArray[np.float64]) -> None:
    """Fill `row` with what lies in each window that ends with the entry at `place`."""
    time, column = rings.times[place], 0
    for window_ms in rule.windows_ms:
        first = first_after(rings, low, place, time - window_ms)
        count = place + 1 - first
        row[column] = count
        column += 1
        if len(rings.totals) > 1:
            total = rings.totals[place + 1] - rings.totals[first]
            row[column] = total / (count * AMOUNT_UNITS)
            column += 1


@compiled
def _measure_alone(rings: Rings, amount: int, row: npt.NDArray[np.float64]) -> None:
    """Fill `row` for an event that comes too late for any entry to be kept beside it."""
    summed = len(rings.totals) > 1
    for column in range(len(row)):
        row[column] = amount / AMOUNT_UNITS if summed and column % 2 == 1 else 1.0


@compiled
def observe(rings: Rings, events: Events, rule: Rule) -> int:
    """Take events in, one after the other, and fill in their features.

    Returns:
        How many were taken in: all, or fewer where the arrays must grow or the bound is reached.
    """
    for i in range(len(events.slots)):
        slot, time, row = int(events.slots[i]), int(events.times[i]), events.features[i]
        high = rings.heads[slot, HIGH]
        oldest = time
        if high > rings.heads[slot, LOW]:
            oldest = max(time, int(rings.times[high - 1])) - rule.retained_ms
            if time <= oldest:
                _measure_alone(rings, events.amounts[i], row)
                continue
        if rings.counts[ENTRIES] >= rule.entries_max:
            return i
        touch(rings, slot)
        place = insert(rings, slot, time, events.amounts[i])
        if place == NONE:
            return i
        low = first_after(rings, int(rings.heads[slot, LOW]), place, oldest)
        _measure(rings, place, low, rule, row)
    return len(events.slots)


@compiled
def prune(rings: Rings, slots: Integers, retained_ms: int) -> None:
    """Forget the entries, and the chunks, that no window of a coming event can reach."""
    for slot in slots:
        low, high = rings.heads[slot, LOW], rings.heads[slot, HIGH]
        if low == high:
            continue
        oldest = rings.times[high - 1] - retained_ms
        while rings.times[low] <= oldest:
            low += 1
        rings.counts[ENTRIES] -= low - rings.heads[slot, LOW]
        rings.heads[slot, LOW] = low
        head = (rings.heads[slot, NEXT] - 1) >> CHUNK_BITS
        chunk = int(rings.heads[slot, FIRST])
        while chunk < head and rings.latest[chunk_place(rings, slot, chunk)] <= oldest:
            chunk += 1
        rings.heads[slot, FIRST] = chunk


@compiled
def _undo_slot(rings: Rings, slot: int, next_number: int) -> None:
    """Take out the entries from `next_number` on, wherever they lie in time."""
    low, high = rings.heads[slot, LOW], rings.heads[slot, HIGH]
    summed = len(rings.totals) > 1
    kept = low
    before = after = total = rings.totals[low] if summed else 0
    for i in range(low, high):
        if summed:
            before, after = after, rings.totals[i + 1]
        if rings.numbers[i] < next_number:
            rings.times[kept] = rings.times[i]
            rings.numbers[kept] = rings.numbers[i]
            if summed:
                rings.totals[kept] = total
                total += after - before
            kept += 1
    if summed:
        rings.totals[kept] = total
    rings.counts[ENTRIES] -= high - kept
    rings.heads[slot, HIGH] = kept
    rings.heads[slot, NEXT] = next_number


@compiled
def undo(rings: Rings) -> None:
    """Put every slot that the newest open batch touched back as it was before."""
    for touch in range(rings.counts[OPENED], rings.counts[TOUCHED]):
        row = touch & (len(rings.undo) - 1)
        slot, next_number = rings.undo[row, UNDO_SLOT], rings.undo[row, UNDO_NEXT]
        if rings.heads[slot, CAPACITY] > 0:
            _undo_slot(rings, slot, next_number)
        if next_number > 0:
            head = (next_number - 1) >> CHUNK_BITS
            rings.latest[chunk_place(rings, slot, head)] = rings.undo[row, UNDO_LATEST]
        rings.heads[slot, MARK] = rings.undo[row, UNDO_MARK]
    rings.counts[TOUCHED] = rings.counts[OPENED]


@compiled
def drop_slot(rings: Rings, slot: int) -> None:
    """Forget a slot and all its entries."""
    if rings.heads[slot, CAPACITY] > 0:
        _release_segment(rings, rings.heads[slot, START], rings.heads[slot, CAPACITY])
    rings.counts[ENTRIES] -= rings.heads[slot, HIGH] - rings.heads[slot, LOW]
    rings.heads[slot, LOW] = rings.heads[slot, HIGH] = rings.heads[slot, CAPACITY] = 0
    rings.heads[slot, NEXT] = rings.heads[slot, FIRST] = rings.heads[slot, MARK] = 0
