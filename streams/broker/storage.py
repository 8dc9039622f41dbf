"""Where the batches of a partition lie: in memory, for now."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

__all__ = ["MemoryStorage", "StoredBatch"]


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch at its place in the log."""

    base_offset: int
    last_offset: int
    max_timestamp_ms: int
    data: bytes


class MemoryStorage:
    """Batches in offset order; found by offset in logarithmic time."""

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._batches: list[StoredBatch] = []

    def append(self, batch: StoredBatch) -> None:
        """Put a batch behind all others."""
        self._bases.append(batch.base_offset)
        self._batches.append(batch)

    def read(
        self, offset: int, limit_offset: int, max_bytes: int, *, at_least_one: bool
    ) -> list[StoredBatch]:
        """Read whole batches.

        Args:
            offset: the first offset wanted; its batch may start before it.
            limit_offset: batches that start here or later are not read.
            max_bytes: stop before this many bytes.
            at_least_one: read the first batch even where it is larger than that.
        """
        found: list[StoredBatch] = []
        size = 0
        for index in range(self._index_of(offset), len(self._batches)):
            batch = self._batches[index]
            size += len(batch.data)
            too_much = size > max_bytes and (found or not at_least_one)
            if batch.base_offset >= limit_offset or too_much:
                break
            found.append(batch)
        return found

    def first_at_or_after(self, timestamp_ms: int, from_offset: int) -> StoredBatch | None:
        """The first batch with a record as late as asked."""
        for index in range(self._index_of(from_offset), len(self._batches)):
            if self._batches[index].max_timestamp_ms >= timestamp_ms:
                return self._batches[index]
        return None

    def latest(self) -> StoredBatch | None:
        """The first batch that holds the greatest timestamp."""
        return max(self._batches, key=lambda b: b.max_timestamp_ms, default=None)

    def drop_before(self, offset: int) -> None:
        """Forget batches that end before an offset."""
        index = self._index_of(offset)
        del self._bases[:index], self._batches[:index]

    def _index_of(self, offset: int) -> int:
        index = max(0, bisect.bisect_right(self._bases, offset) - 1)
        if index < len(self._batches) and self._batches[index].last_offset < offset:
            index += 1
        return index
