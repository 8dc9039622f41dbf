"""How a part of the user's own is called: within a bound of time, where there is one.

An agent has neither clock nor threads, so it is given an Isolation. `Direct` calls the part as it
is: tests and rehearsals, which must be the same each time, know no other.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

__all__ = ["DIRECT", "Direct", "Isolation"]

ResultT = TypeVar("ResultT")


class Isolation(Protocol):
    """Calls what is anybody's code."""

    def run(self, part: str, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns.

        Args:
            part: whose work it is, in words for people.
            work: must not write to what outlives it: it may go on after it was given up.

        Raises:
            TimeoutError: it took too long, or earlier work of the same part still hangs.
            Exception: whatever `work` raised.
        """
        ...

    def report(self, part: str, failure: Exception, /) -> None:
        """Hear that a part broke: its events go without, and nobody else says why."""
        ...


class Direct:
    """Calls a part as it is, and lets no one know."""

    def run(self, part: str, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns."""
        del part
        return work()

    def report(self, part: str, failure: Exception, /) -> None:
        """Take no notice."""
        del part, failure


DIRECT: Final[Isolation] = Direct()
