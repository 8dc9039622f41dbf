"""An agenda: which keys are due by when, the earliest first, lazily corrected.

A heap with lazy deletion (R. Sedgewick, Algorithms, 2.4; the note on stale entries in Python's
`heapq`). A key that is put off costs nothing until its old time comes; stale entries never
outnumber the live ones by more than a constant. Equal times are told apart by the key.

    agenda = Agenda()
    agenda.set(b"a", 30)
    agenda.set(b"b", 20)
    agenda.take(until=25, limit=10)    # [(20, b"b")]
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["Agenda"]

#: So many stale entries are let be, however few keys there are.
_STALE_MAX: Final = 64
#: Filling is cheaper than setting from one new key to so many that are held.
_REBUILD_RATIO: Final = 8


class Agenda:
    """Keys and the time at which each is due; a key has one time."""

    def __init__(self) -> None:
        self._due: dict[bytes, int] = {}
        #: Where each key stands in the heap: at its due time or before.
        self._at: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        """Return how many keys have a time."""
        return len(self._due)

    def get(self, key: bytes) -> int | None:
        """Return when `key` is due, or None."""
        return self._due.get(key)

    def set(self, key: bytes, due: int) -> None:
        """Put `key` at `due`, wherever it was before."""
        self._due[key] = due
        at = self._at.get(key)
        if at is None or at > due:
            self._at[key] = due
            heapq.heappush(self._heap, (due, key))
            self._sweep()

    def drop(self, key: bytes) -> None:
        """Forget `key`, if it is known."""
        if self._due.pop(key, None) is not None:
            self._sweep()

    def put(self, key: bytes, due: int | None) -> None:
        """Set `key` to `due`, or forget it where there is none."""
        if due is None:
            self.drop(key)
        else:
            self.set(key, due)

    def fill(self, entries: Mapping[bytes, int]) -> None:
        """Set many keys at once: faster than one by one."""
        if len(entries) * _REBUILD_RATIO < len(self._due):
            for key, due in entries.items():
                self.set(key, due)
        else:
            self._due.update(entries)
            self._rebuild()

    def put_off(self, keys: Iterable[bytes], due: int) -> dict[bytes, int | None]:
        """Set many keys to one time; return when each was due before."""
        dues, at = self._due, self._at
        before: dict[bytes, int | None] = {}
        for key in keys:
            before[key] = dues.get(key)
            if key in at and at[key] <= due:
                dues[key] = due
            else:
                self.set(key, due)
        return before

    def first(self) -> tuple[int, bytes] | None:
        """Return the earliest time and its key, or None."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            due = self._due.get(key)
            if self._at.get(key) != at or due is None:
                heapq.heappop(heap)
                if due is None:
                    self._at.pop(key, None)
            elif due > at:
                self._at[key] = due
                heapq.heapreplace(heap, (due, key))
            else:
                return at, key
        return None

    def take(self, until: int, limit: int) -> list[tuple[int, bytes]]:
        """Take out what is due at `until` or before, at most `limit` keys, in order."""
        taken: list[tuple[int, bytes]] = []
        while len(taken) < limit and (entry := self.first()) is not None and entry[0] <= until:
            heapq.heappop(self._heap)
            del self._due[entry[1]], self._at[entry[1]]
            taken.append(entry)
        return taken

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._due) + _STALE_MAX:
            self._rebuild()

    def _rebuild(self) -> None:
        self._at = dict(self._due)
        self._heap = [(due, key) for key, due in self._due.items()]
        heapq.heapify(self._heap)
