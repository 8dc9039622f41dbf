"""Listed tables: a keyed table, and lists beside it that can be told from what it holds.

A queue by due time, a count, a line per key: none of them is written, all of them follow the table,
over a rollback and a restore too. Such a table says in `_relist` how its lists follow one key.
"""

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from batuta.agents.state.codecs import Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Change

__all__ = ["ListedTable"]

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class ListedTable(Generic[KeyT, ValueT]):
    """A StateTable over one keyed table; what it may be asked its subclasses say."""

    def __init__(
        self, tag: bytes, codec: Codec[KeyT, ValueT], name: str, *, entries_max: int
    ) -> None:
        """Open an empty table of at most `entries_max` entries."""
        self.tag = tag
        self.name = name
        self._codec = codec
        self._table = KeyedTable(tag, codec, name, entries_max=entries_max)

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        self._table.begin()

    def changes(self, now_ms: int) -> list[Change]:
        """Return what the newest open batch changed, by changelog key."""
        return self._table.changes(now_ms)

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        self._table.commit()

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        touched = self._table.touched()
        self._table.rollback()
        for key in touched:
            self._relist(key)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        self.load_many((key,), (value,))

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or shape this code does not know.
        """
        self._table.load_many(keys, values)
        for key in keys:
            self._relist(self._codec.keys.decode(key[1:]))

    def dump(self) -> Iterable[Change]:
        """Return everything held, as changelog records; only while no batch is open."""
        return self._table.dump()

    def entries(self) -> int:
        """Return how many entries are held."""
        return len(self._table)

    def _relist(self, key: KeyT) -> None:
        """Bring the lists up to what the table holds of one key.

        Raises:
            StateCorruptError: the key is none of this table's.
        """
        raise NotImplementedError
