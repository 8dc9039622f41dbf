"""What every table does over the lives of its batches, as a battery that a test calls.

A test says how its table is opened, what a write is, and what a naive model of it answers; the
battery walks both through steps drawn at random: batches begin, write, tell their changes, are
committed and rolled back in any legal order, up to `OPEN_MAX` of them open at once; at times the
table is loaded anew from its dump or from its changelog. After each step the table must answer as
the model does. Before a step that is not legal where it stands, what it takes is done: a write
begins a batch, a commit tells the changes, a load forgets the batches that are open.

    Battery(open_table, Model, write, settle, compare).run([("begin", 0), ("write", 7), ...])
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

from batuta.agents.state.port import Change, State

__all__ = ["MOMENTS", "OPEN_MAX", "Battery", "Moment", "Step", "Walk", "load_all"]

#: How many batches are open at once at most.
OPEN_MAX: Final = 3

Moment = Literal["begin", "changes", "commit", "rollback", "dump", "replay", "compacted"]
#: What a step may be beside a write; its number is the clock of `changes`, in milliseconds.
MOMENTS: Final[tuple[Moment, ...]] = (
    *("begin", "changes", "commit", "rollback", "dump", "replay", "compacted"),
)

TableT = TypeVar("TableT", bound=State)
ModelT = TypeVar("ModelT")
WriteT = TypeVar("WriteT")

Step = tuple[Moment, int] | tuple[Literal["write"], WriteT]


def load_all(table: TableT, records: Iterable[Change]) -> TableT:
    """Load `records` into `table` and return it."""
    for key, value in records:
        table.load(key, value)
    return table


@dataclass
class Battery(Generic[TableT, ModelT, WriteT]):
    """One kind of table beside its naive model.

    Attributes:
        open_table: opens an empty table.
        open_model: makes an empty model; it is copied deeply at every `begin`.
        write: writes to both, and asserts that they answer alike.
        settle: does to the model what `changes` does at this clock.
        compare: asserts that every read of both is the same.
    """

    open_table: Callable[[], TableT]
    open_model: Callable[[], ModelT]
    write: Callable[[TableT, ModelT, WriteT], None]
    settle: Callable[[ModelT, int], None]
    compare: Callable[[TableT, ModelT], None]

    def run(self, steps: Sequence[Step[WriteT]]) -> None:
        """Walk through `steps`, then roll back what is open and load the rest in each way."""
        walk = Walk(self, self.open_table(), [self.open_model()])
        for step in steps:
            if step[0] == "write":
                walk.write(step[1])
            else:
                walk.take(step[0], step[1])
            self.compare(walk.table, walk.models[-1])
        while walk.told:
            walk.rollback()
        self.compare(walk.table, walk.models[-1])
        for way in ("dump", "replay", "compacted"):
            walk.reload(way)
            self.compare(walk.table, walk.models[-1])


@dataclass
class Walk(Generic[TableT, ModelT, WriteT]):
    """A table and its model on their way.

    Attributes:
        battery: what is walked.
        table: the table.
        models: what was committed, then one model per open batch.
        told: per open batch, its changes once it has told them.
        log: the changelog so far.
    """

    battery: Battery[TableT, ModelT, WriteT]
    table: TableT
    models: list[ModelT]
    told: list[list[Change] | None] = field(default_factory=list[list[Change] | None])
    log: list[Change] = field(default_factory=list[Change])

    def take(self, moment: Moment, now_ms: int) -> None:
        """Take one step, after what it takes; `now_ms` is the clock of changes it tells."""
        match moment:
            case "begin":
                self.tell(now_ms)
                if len(self.told) == OPEN_MAX:
                    self.commit()
                self.begin()
            case "changes":
                self.tell(now_ms)
            case "commit" if self.told:
                if len(self.told) == 1:
                    self.tell(now_ms)
                self.commit()
            case "rollback" if self.told:
                self.rollback()
            case "dump" | "replay" | "compacted":
                while self.told:
                    self.rollback()
                self.reload(moment)
            case _:
                pass

    @property
    def writable(self) -> bool:
        """Whether the newest open batch still takes writes."""
        return bool(self.told) and self.told[-1] is None

    def begin(self) -> None:
        """Open a batch."""
        self.table.begin()
        self.models.append(deepcopy(self.models[-1]))
        self.told.append(None)

    def write(self, write: WriteT) -> None:
        """Write to both."""
        if not self.writable:
            if len(self.told) == OPEN_MAX:
                self.commit()
            self.begin()
        self.battery.write(self.table, self.models[-1], write)

    def tell(self, now_ms: int) -> None:
        """Tell the changes of the newest open batch, unless it has told them."""
        if not self.writable:
            return
        changes = self.table.changes(now_ms)
        self.battery.settle(self.models[-1], now_ms)
        keys = [key for key, _ in changes]
        assert len(keys) == len(set(keys)), "a batch tells of each key once"
        tag: bytes = getattr(self.table, "tag", b"")
        assert all(key.startswith(tag) for key in keys), "a key begins with the table's tag"
        self.told[-1] = changes

    def commit(self) -> None:
        """Keep the oldest open batch."""
        self.table.commit()
        self.log += self.told.pop(0) or []
        del self.models[0]

    def rollback(self) -> None:
        """Forget the newest open batch."""
        self.table.rollback()
        self.told.pop()
        self.models.pop()

    def reload(self, way: Literal["dump", "replay", "compacted"]) -> None:
        """Load the table anew: from its dump, its changelog, or what compaction leaves of it."""
        records: dict[Literal["dump", "replay", "compacted"], Iterable[Change]] = {
            "dump": self.table.dump(),
            "replay": self.log,
            "compacted": _compacted(self.log),
        }
        self.table = load_all(self.battery.open_table(), records[way])


def _compacted(log: Sequence[Change]) -> list[Change]:
    """Return the newest record of each key, where it stands in the log; every tombstone is gone."""
    last = {key: at for at, (key, _) in enumerate(log)}
    return [record for at, record in enumerate(log) if last[record[0]] == at and record[1]]
