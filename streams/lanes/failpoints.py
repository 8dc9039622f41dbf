"""Failpoints: named places in a lane's walk where a test may end the process or let an await fail.

Each await between a fetch and its commit that leaves our own code passes one just before; so do
what a lane asks at its start, and the moment between a commit and the state that keeps it. Nothing
happens there unless a test has said what: nothing in this package does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAILPOINTS", "UNFAILING", "Failpoints", "reach"]

#: Where nothing fails: our own waits, a pause, and what is awaited by nobody. There only the end of
#: the process happens.
UNFAILING: Final = (
    *("batch.ended", "flight.understood", "flight.answered", "commits.noted", "producer.discard"),
    *("lane.advance_turn", "lane.backoff", "lane.commit_turn", "lane.restart"),
)


class Failpoints:
    """What is to happen where.

    Attributes:
        strike: called with the name of each failpoint that is passed; what it raises is raised
            there. None, and nothing happens.
    """

    def __init__(self) -> None:
        self.strike: Callable[[str], None] | None = None

    def reach(self, name: str) -> None:
        """Pass the failpoint of this name."""
        if self.strike is not None:
            self.strike(name)


FAILPOINTS: Final = Failpoints()
reach: Final = FAILPOINTS.reach
