"""The tables in which something waits, and what batches may do with them, for tests of the state.

They are subjects of `batuta.streams.lanes.table_testing`, opened as small as it says.
"""

from dataclasses import dataclass, replace
from random import Random

from batuta.agents.state.alignment import Held, HeldRecord
from batuta.agents.state.joining import Bounds, Item, Join, Joined
from batuta.agents.state.parking import KINDS, ParkingLot, Step
from batuta.agents.state.port import StateTable, Tables
from batuta.agents.state.timers import Timers
from batuta.schemas.record import Record

__all__ = ["HeldSubject", "JoinSubject", "ParkingSubject"]


@dataclass
class HeldSubject:
    """Records of two inputs, held and released."""

    bound: int
    fill_count: int
    name: str = "held"
    kind: type = Held
    refuses: bool | None = True

    def open(self) -> Held:
        """Open an empty table."""
        return Held(b"h", inputs=2, records_max=self.bound)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Offer some records, some of them again, and release some."""
        assert isinstance(table, Held)
        for _ in range(random.choice((0, 1, 9, 20))):
            order, offset = random.randrange(2), random.randrange(30)
            time_ms = 1_000 + 7 * ((offset * 13) % 30)
            key = random.choice((None, b"", b"k"))
            record = Record(f"topic-{order}", 0, offset, now_ms, key, b"v", (("h", b"x"),))
            table.offer([HeldRecord(time_ms, order, record)])
        return table.release(now_ms, limit=random.choice((0, 1, 9))), table.room(0)

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Offer records that are all new."""
        assert isinstance(table, Held)
        for _ in range(self.fill_count):
            record = Record("topic-0", 0, random.randrange(1 << 60), now_ms, None, None)
            table.offer([HeldRecord(now_ms, 0, record)])

    def look(self, table: StateTable) -> object:
        """Read what reads without a batch."""
        assert isinstance(table, Held)
        return table.first_ms(), table.room(0), table.room(1)


class _JoinAndTimers(Tables):
    """A join with the timers it stands on, as one table."""

    tag = b"j"

    def __init__(self, bound: int) -> None:
        self.timers = Timers(b"t", entries_max=2 * bound)
        self.join = Join(b"j", "things", self.timers, Bounds(20, 30, entries_max=bound))
        super().__init__([self.join, self.timers])

    def entries(self) -> int:
        """Return how many items the join holds."""
        return self.join.entries()


@dataclass
class JoinSubject:
    """Items of two sides, paired or given out alone."""

    bound: int
    fill_count: int
    name: str = "join"
    kind: type = Join
    refuses: bool | None = True

    def open(self) -> StateTable:
        """Open an empty join with its timers."""
        return _JoinAndTimers(self.bound)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Hand over the firings that are due, and offer some items."""
        assert isinstance(table, _JoinAndTimers)
        watermark_ms = now_ms - 20
        firings = table.timers.due(now_ms, watermark_ms, limit=random.choice((1, 50)))
        answers: list[Joined | None] = [table.join.fired(firing) for firing in firings]
        for _ in range(random.choice((0, 1, 9, 20))):
            number = str(random.randrange(3))
            key, time_ms = f"key-{random.randrange(6)}", now_ms - random.choice((0, 5, 30, 90))
            item = Item(key, number, time_ms, key.encode())
            answers.append(table.join.offer(random.choice(("left", "right")), item, watermark_ms))
        return answers

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Offer items that all wait."""
        assert isinstance(table, _JoinAndTimers)
        for _ in range(self.fill_count):
            table.join.offer("left", Item("k", f"{random.random()}", now_ms), 0)

    def look(self, table: StateTable) -> object:
        """Read what reads without a batch."""
        assert isinstance(table, _JoinAndTimers)
        return table.join.waiting(), table.timers.next_due("event")


@dataclass
class ParkingSubject:
    """Steps that wait for a model, a human or each other."""

    bound: int
    fill_count: int
    name: str = "parking"
    kind: type = ParkingLot
    refuses: bool | None = False

    def open(self) -> ParkingLot:
        """Open an empty lot."""
        return ParkingLot(b"p", steps_max=self.bound)

    def act(self, table: StateTable, random: Random, now_ms: int) -> object:
        """Take out what has expired, is answered or is free, and park some steps."""
        assert isinstance(table, ParkingLot)
        answers: list[object] = [table.expire(now_ms, limit=random.choice((1, 50)))]
        answers += [table.resume(f"{random.randrange(30)}") for _ in range(random.randrange(4))]
        for _ in range(random.choice((0, 1, 9, 20))):
            name, key = f"{random.randrange(30)}", f"key-{random.randrange(6)}"
            step = Step(name, key, random.choice(KINDS), now_ms + random.choice((5, 90, 900)))
            if table.blocks(key):
                step = replace(step, kind="queued")
            answers.append(table.park(step) if table.get(name) is None else table.take_next(key))
        free = table.free(limit=random.choice((0, 3, 9)))
        for step in free[:1]:
            table.park(step)
        return answers, free, table.counts()

    def fill(self, table: StateTable, random: Random, now_ms: int) -> None:
        """Park steps that are all new."""
        assert isinstance(table, ParkingLot)
        for _ in range(self.fill_count):
            name = f"{random.random()}"
            table.park(Step(name, name, random.choice(("human", "model")), now_ms + 9_999))

    def look(self, table: StateTable) -> object:
        """Read what reads without a batch."""
        assert isinstance(table, ParkingLot)
        blocked = [table.blocks(f"key-{number}") for number in range(6)]
        return table.counts(), table.next_deadline(), blocked, table.get("1")
