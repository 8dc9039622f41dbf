"""Producer ids, which are never given twice: a block of them is noted before any is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.journal_entries import ProducerIdsReserved

if TYPE_CHECKING:
    from batuta.streams.broker.journal import Journal

__all__ = ["ProducerIds"]

FIRST_PRODUCER_ID = 1000
BLOCK = 1000


class ProducerIds:
    """Where producer ids come from; what is left of a block is lost over a restart."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._next = self._reserved = FIRST_PRODUCER_ID

    def take(self) -> int:
        """A producer id nobody has.

        Raises:
            DiskError: the next block could not be noted.
        """
        if self._next >= self._reserved:
            entry = ProducerIdsReserved(self._next + BLOCK)
            self._journal.append(entry, is_final=True)
            self._reserved = entry.next_id
        taken, self._next = self._next, self._next + 1
        return taken

    def keep(self, kept: ProducerIdsReserved) -> None:
        """Go on behind what was noted."""
        self._next = self._reserved = kept.next_id

    def entry(self) -> ProducerIdsReserved:
        """What is to be noted."""
        return ProducerIdsReserved(self._reserved)
