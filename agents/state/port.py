"""What a lane remembers: keyed tables whose changes travel with the batch that made them.

A lane owns the state of its partition and drives it through one life per batch:

    begin -> (the agent reads and writes) -> changes -> commit     the transaction was committed
                                                     -> rollback   it was not: as if it never ran

Several batches may be open, one on top of the other: a batch begins once the one before it has
told its changes. The oldest is committed first, the newest rolled back first.

`changes` become records on the lane's changelog in the same transaction as outputs and offsets;
`load` takes them back, in order, when a lane starts, and before the first batch; `dump` gives all
that is held in the same form, for a snapshot. A table's changelog keys begin with its own one-byte
tag, so that several tables share one changelog partition.

Every value begins with the version of its format. An older version that is known is upgraded as it
is loaded; one that is not is refused with `StateCorruptError`, never guessed at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, runtime_checkable

from batuta.schemas.errors import StateCorruptError

__all__ = [
    "BulkState",
    "Change",
    "Restorable",
    "State",
    "StateTable",
    "Tables",
    "load_by_tag",
    "load_many",
    "settle",
]

#: A changelog record: its key, and its value or None where the entry ended (a tombstone).
Change = tuple[bytes, bytes | None]


class Restorable(Protocol):
    """What can be restored from a changelog or a snapshot."""

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        ...

    def dump(self) -> Iterable[Change]:
        """Give everything held, as changelog records: loading them makes an equal state.

        To be called, and read to its end, while no batch is open.
        """
        ...

    def entries(self) -> int:
        """Return how many entries are held."""
        ...


class State(Restorable, Protocol):
    """State of one lane; batches are open in layers, and written to one at a time."""

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        ...

    def changes(self, now_ms: int) -> list[Change]:
        """Return what the newest open batch changed, in an order that its writes alone determine.

        Called once per batch, after its last write and before the next batch begins. Entries whose
        time to live has ended at `now_ms` end with this batch.
        """
        ...

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        ...

    def rollback(self) -> None:
        """Forget what the newest open batch changed: every read answers as before its `begin`."""
        ...


@runtime_checkable
class BulkState(Protocol):
    """A state that loads many records faster than one by one."""

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or shape this code does not know.
        """
        ...


@runtime_checkable
class _Settling(Protocol):
    """A state that builds what it holds once everything was loaded."""

    def settle(self) -> Iterator[None]:
        """Build it now, a part at each step, not with the first batch.

        Raises:
            StateCorruptError: what was loaded does not fit together.
        """
        ...


def load_many(state: Restorable, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
    """Load many changelog records into `state`, at once where it can.

    Raises:
        StateCorruptError: one is of a version or shape this code does not know.
    """
    if isinstance(state, BulkState):
        state.load_many(keys, values)
        return
    for key, value in zip(keys, values, strict=True):
        state.load(key, value)


def load_by_tag(
    owner: Callable[[bytes], Restorable],
    keys: Sequence[bytes],
    values: Sequence[bytes | None],
) -> None:
    """Load many changelog records, in order for each tag, into what owns their tags.

    Args:
        owner: what a tag, the first byte of a key, belongs to.
        keys: of the records.
        values: of the records.

    Raises:
        StateCorruptError: one is of a version or shape this code does not know.
    """
    tags = {key[:1] for key in keys}
    for tag in sorted(tags):
        if len(tags) == 1:
            load_many(owner(tag), keys, values)
        else:
            mine = [index for index, key in enumerate(keys) if key[:1] == tag]
            load_many(owner(tag), [keys[i] for i in mine], [values[i] for i in mine])


def settle(state: Restorable) -> Iterator[None]:
    """Let `state` build what it holds, once everything was loaded; others may go on at each step.

    Raises:
        StateCorruptError: what was loaded does not fit together.
    """
    if isinstance(state, _Settling):
        yield from state.settle()


class StateTable(State, Protocol):
    """One keyed table: a State whose changelog keys begin with `tag`."""

    tag: bytes


class Tables:
    """Several tables as one State, told apart by the first byte of their changelog keys."""

    def __init__(self, tables: Sequence[StateTable]) -> None:
        self._tables = tuple(tables)
        self._by_tag = {table.tag: table for table in self._tables}
        assert len(self._by_tag) == len(self._tables), "tags must differ"
        assert all(len(tag) == 1 for tag in self._by_tag), "a tag is one byte"

    def begin(self) -> None:
        """Open a batch on every table."""
        for table in self._tables:
            table.begin()

    def changes(self, now_ms: int) -> list[Change]:
        """Return every table's changes."""
        return [change for table in self._tables for change in table.changes(now_ms)]

    def commit(self) -> None:
        """Keep the open batch on every table."""
        for table in self._tables:
            table.commit()

    def rollback(self) -> None:
        """Forget the open batch on every table."""
        for table in self._tables:
            table.rollback()

    def load(self, key: bytes, value: bytes | None) -> None:
        """Hand one changelog record to the table it belongs to.

        Raises:
            StateCorruptError: no table has this tag.
        """
        self._table_of(key).load(key, value)

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Hand many changelog records to the tables they belong to, in order for each table.

        Raises:
            StateCorruptError: no table has one's tag, or a table does not know one.
        """
        load_by_tag(self._table_of, keys, values)

    def settle(self) -> Iterator[None]:
        """Let every table build what it holds, a part at each step.

        Raises:
            StateCorruptError: what was loaded does not fit together.
        """
        for table in self._tables:
            yield from settle(table)

    def dump(self) -> Iterable[Change]:
        """Give everything that all tables hold, table after table."""
        return chain.from_iterable(table.dump() for table in self._tables)

    def entries(self) -> int:
        """Return how many entries all tables hold."""
        return sum(table.entries() for table in self._tables)

    def _table_of(self, key: bytes) -> StateTable:
        table = self._by_tag.get(key[:1])
        if table is None:
            raise StateCorruptError(f"changelog key {key[:32]!r} belongs to no known table")
        return table
