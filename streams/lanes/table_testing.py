"""Every table of a lane's state, and what batches may do with it: what tests of the state drive.

A subject opens its table small, acts on it as a seeded source of choices says, and fills it past
its bound. A new table of `batuta.agents` joins `SUBJECTS`; a test looks for those that did not.
"""

from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import numpy as np

from batuta.agents.state.codecs import JSON, TEXT, Codec, JsonValue
from batuta.agents.state.event_time import EventClock, Watermarks
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import StateTable
from batuta.agents.state.timers import DOMAINS, Timer, Timers
from batuta.agents.understanding.deduplication import Deduplication
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.shares import (
    EVENT,
    MARKED,
    UNMARKED,
    DelayedShares,
    ShareRule,
)
from batuta.agents.understanding.windows import TrailingWindows
from batuta.streams.lanes.label_testing import EventKeysSubject, KeptLabelsSubject
from batuta.streams.lanes.waiting_testing import HeldSubject, JoinSubject, ParkingSubject

__all__ = ["BOUND", "FILL", "SUBJECTS", "Subject"]

#: How many entries a subject's table holds at most, and how many one `fill` adds.
BOUND: Final = 400
FILL: Final = 100
_KEYS: Final = ("a", "b", "c", "dé", "e" * 40)
_DIGEST: Final = bytes(8)


class Subject(Protocol):
    """One kind of table, and what batches do with it.

    Attributes:
        name: what the test is called.
        kind: the class it stands for.
        refuses: whether it refuses entries at its bound, or its oldest make way; None where it
            holds one entry, whatever happens.
    """

    name: str
    kind: type
    refuses: bool | None

    def open(self) -> StateTable:
        """Open an empty table that holds at most `BOUND` entries."""
        ...

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Read and write in the open batch as `random` says; return every answer."""
        ...

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Add `FILL` entries, all new."""
        ...

    def look(self, table: StateTable) -> object:
        """Read everything that reads without a batch."""
        ...


@dataclass
class _Windows:
    """Trailing windows, whose keys fall idle as the clock goes on."""

    name: str
    with_mean: bool
    kind: type = TrailingWindows
    refuses: bool | None = True

    def open(self) -> TrailingWindows:
        return TrailingWindows(
            b"w", (10, 60), with_mean=self.with_mean, lateness_ms=20, entries_max=BOUND
        )

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, TrailingWindows)
        count = random.choice((0, 1, 7, 25))
        times = [now_ms - random.choice((0, 0, 1, 5, 30, 90)) for _ in range(count)]
        keys = random.choices(_KEYS, weights=(5, 3, 1, 1, 1), k=count)
        amounts = np.array([random.randrange(10_000) / 100 for _ in keys])
        return table.observe(keys, np.array(times, np.int64), amounts).tolist()

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, TrailingWindows)
        names = [f"{n}-{random.random()}" for n in range(FILL)]
        table.observe(names, np.full(FILL, now_ms), np.ones(FILL))

    def look(self, table: StateTable) -> object:
        return table.entries()


class _Shares:
    """Trailing shares of marked events."""

    name = "shares"
    kind: type = DelayedShares
    refuses: bool | None = True

    def open(self) -> DelayedShares:
        return DelayedShares(b"s", ShareRule((10, 60), 15, lateness_ms=20, entries_max=BOUND))

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, DelayedShares)
        count = random.choice((0, 1, 7, 25))
        times = [now_ms - random.choice((0, 0, 1, 5, 30, 90)) for _ in range(count)]
        keys = random.choices(_KEYS, weights=(5, 3, 1, 1, 1), k=count)
        kinds = random.choices((EVENT, MARKED, UNMARKED), weights=(4, 2, 1), k=count)
        taken = table.take(keys, np.array(times, np.int64), np.array(kinds, np.int64))
        return taken.features.tolist(), taken.expired.tolist()

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, DelayedShares)
        names = [f"{n}-{random.random()}" for n in range(FILL)]
        table.take(names, np.full(FILL, now_ms), np.full(FILL, EVENT))

    def look(self, table: StateTable) -> object:
        return table.entries()


class _Duplicates:
    """Deduplication, whose oldest deltas make way."""

    name = "deduplication"
    kind: type = Deduplication
    refuses: bool | None = False

    def open(self) -> Deduplication:
        return Deduplication(b"d", within_ms=60, entries_max=BOUND)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, Deduplication)
        ids = [f"id-{random.randrange(60)}" for _ in range(random.choice((0, 1, 9, 30)))]
        digests = [_DIGEST[1:] + bytes([random.choice((1, 1, 1, 2))]) for _ in ids]
        return table.classify(ids, digests, now_ms)

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, Deduplication)
        ids = [f"{n}-{random.random()}" for n in range(FILL)]
        table.classify(ids, [_DIGEST] * FILL, now_ms)

    def look(self, table: StateTable) -> object:
        return table.entries()


@dataclass
class _Keyed:
    """A keyed table, with or without a time to live."""

    name: str
    ttl_ms: int | None
    kind: type = KeyedTable
    refuses: bool | None = True

    def open(self) -> KeyedTable[str, JsonValue]:
        return KeyedTable(b"k", Codec(TEXT, JSON), "things", entries_max=BOUND, ttl_ms=self.ttl_ms)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, KeyedTable)
        answers: list[object] = []
        for _ in range(random.choice((0, 1, 9, 30))):
            key = f"key-{random.randrange(30)}"
            answers.append(table.get(key))
            if random.randrange(5) == 0:
                answers.append(table.delete(key))
            else:
                table.put(key, {"at": now_ms, "n": random.randrange(4)})
        return answers

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, KeyedTable)
        for number in range(FILL):
            table.put(f"{number}-{random.random()}", now_ms)

    def look(self, table: StateTable) -> object:
        assert isinstance(table, KeyedTable)
        return list(table.items())


class _Memories:
    """The memories of features, which end when nothing more comes of their series."""

    name = "memories"
    kind: type = MemoryTable
    refuses: bool | None = True

    def open(self) -> MemoryTable:
        return MemoryTable(b"m", entries_max=BOUND, ttl_ms=50)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, MemoryTable)
        answers: list[object] = []
        for series in random.choices(_KEYS, k=random.choice((0, 1, 9))):
            memory = table.recall("pace", series, width=random.choice((9, 9, 9, 20)))
            answers.append(memory.tolist())
            memory[random.randrange(9)] += random.choice((0.0, now_ms / 7, -1.5))
            table.keep("pace", series, memory)
        return answers

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, MemoryTable)
        for number in range(FILL):
            table.keep("pace", f"{number}-{random.random()}", np.full(2, float(now_ms)))

    def look(self, table: StateTable) -> object:
        assert isinstance(table, MemoryTable)
        return [(series, memory.tolist()) for series, memory in table.items()]


class _Timers:
    """Timers of both clocks, set, cancelled and fired."""

    name = "timers"
    kind: type = Timers
    refuses: bool | None = True

    def open(self) -> Timers:
        return Timers(b"t", entries_max=BOUND)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, Timers)
        answers: list[object] = list(table.due(now_ms, now_ms - 20, limit=random.choice((1, 50))))
        for _ in range(random.choice((0, 1, 9, 30))):
            kind, key = random.choice(("wait", "retry")), f"key-{random.randrange(30)}"
            answers.append(table.get(kind, key))
            if random.randrange(5) == 0:
                answers.append(table.cancel(kind, key))
            else:
                due_ms = now_ms + random.choice((-5, 0, 9, 30, 200))
                table.set(Timer(kind, key, due_ms, random.choice(DOMAINS), key.encode()))
        return answers

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, Timers)
        for number in range(FILL):
            table.set(Timer("wait", f"{number}-{random.random()}", now_ms + 1_000, "event"))

    def look(self, table: StateTable) -> object:
        assert isinstance(table, Timers)
        return [table.next_due(domain) for domain in DOMAINS]


class _Clock:
    """The event time a lane has reached: one entry, whatever happens."""

    name = "event-clock"
    kind: type = EventClock
    refuses: bool | None = None

    def open(self) -> EventClock:
        return EventClock(b"c", lateness_ms=20)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, EventClock)
        times = [now_ms - random.choice((-30, 0, 5, 30, 90)) for _ in range(random.choice((0, 9)))]
        return table.observe(np.array(times, np.int64)).tolist(), table.watermark_ms

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, EventClock)
        table.observe(np.array([now_ms + random.randrange(9)], np.int64))

    def look(self, table: StateTable) -> object:
        assert isinstance(table, EventClock)
        return table.watermark_ms


class _Watermarks:
    """What the lanes above have told."""

    name = "watermarks"
    kind: type = Watermarks
    refuses: bool | None = True

    def open(self) -> Watermarks:
        return Watermarks(b"m", upstreams_max=BOUND - 1)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        assert isinstance(table, Watermarks)
        for _ in range(random.choice((0, 1, 9))):
            name, idle = f"lane-{random.randrange(4)}", random.randrange(3) == 0
            table.hear(name, now_ms - random.choice((0, 5, 60)), idle=idle)
        # Nobody is waited for: since when a lane waits is not state.
        return table.advance(now_ms, upstreams=4, idle_after_ms=0), table.get("lane-1")

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        assert isinstance(table, Watermarks)
        for number in range(FILL):
            table.hear(f"{number}-{random.random()}", now_ms)

    def look(self, table: StateTable) -> object:
        assert isinstance(table, Watermarks)
        return table.watermark_ms, table.get("lane-1")


SUBJECTS: Final[tuple[Subject, ...]] = (
    _Windows("windows-mean", with_mean=True),
    _Windows("windows-count", with_mean=False),
    _Duplicates(),
    _Keyed("keyed", None),
    _Keyed("keyed-ending", 50),
    _Memories(),
    _Timers(),
    _Shares(),
    _Clock(),
    _Watermarks(),
    HeldSubject(BOUND, FILL),
    JoinSubject(BOUND, FILL),
    ParkingSubject(BOUND, FILL),
    EventKeysSubject(BOUND, FILL),
    KeptLabelsSubject(BOUND, FILL),
)
