"""The bulkhead of one model: so many calls are under way, so many wait, and the next is refused.

One model that hangs then takes no more than its own share of connections and memory. This is the
counting alone: who waits is told by whoever drives it, first come, first served.

    bulkhead = Bulkhead(BulkheadRule(calls_max=1, queue_max=1))
    bulkhead.knock()           # "enters"
    bulkhead.knock()           # "waits"
    bulkhead.knock()           # "full"
    bulkhead.leave()           # True: the longest waiting has the place now
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Bulkhead", "BulkheadRule"]


@dataclass(frozen=True, slots=True)
class BulkheadRule:
    """How many calls of one model may be open.

    Attributes:
        calls_max: under way at once.
        queue_max: waiting for one of these to end.
    """

    calls_max: int = 64
    queue_max: int = 256


class Bulkhead:
    """The places of one model.

    Attributes:
        under_way, waiting: how many calls.
    """

    def __init__(self, rule: BulkheadRule) -> None:
        """Begin empty."""
        self._rule = rule
        self.under_way = 0
        self.waiting = 0

    def knock(self) -> Literal["enters", "waits", "full"]:
        """Ask for a place."""
        if self.under_way < self._rule.calls_max:
            self.under_way += 1
            return "enters"
        if self.waiting < self._rule.queue_max:
            self.waiting += 1
            return "waits"
        return "full"

    def leave(self) -> bool:
        """Give a place back; say whether the one that waits longest has it now."""
        assert self.under_way > 0, "nobody is inside"
        if self.waiting:
            self.waiting -= 1
            return True
        self.under_way -= 1
        return False

    def give_up(self) -> None:
        """Wait no longer."""
        assert self.waiting > 0, "nobody waits"
        self.waiting -= 1
