"""Received: how many records a lane has read, each counted once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batuta.streams.lanes.log import Offsets
    from batuta.streams.lanes.ownership import Fetched

__all__ = ["Received"]


class Received:
    """Tells records read for the first time from those that are read again after trouble."""

    def __init__(self) -> None:
        self._known: Offsets = {}

    def count(self, fetched: "Fetched") -> int:
        """Return how many of the records were never read before by this lane."""
        count = 0
        for tp, records in fetched.by_input.items():
            known = self._known.get(tp, 0)
            fresh = records[0].offset >= known
            count += len(records) if fresh else sum(r.offset >= known for r in records)
            self._known[tp] = max(known, fetched.positions[tp])
        return count
