"""An answer that is given later: a long poll, a rebalance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pending"]

T = TypeVar("T")


class Pending(Generic[T]):
    """One value that will come, once, and those who wait for it.

    It knows no event loop, so that the broker can be driven on any clock.
    """

    def __init__(self) -> None:
        self._value: T | None = None
        self._waiting: list[Callable[[T], None]] = []
        self.done = False

    def resolve(self, value: T) -> None:
        """Give the value; a second one is ignored, as is one nobody waits for any more."""
        if self.done:
            return
        self.done, self._value = True, value
        for call in self._waiting:
            call(value)
        self._waiting.clear()

    def then(self, call: Callable[[T], None]) -> None:
        """Call `call` with the value: now if it is there, else when it comes."""
        if self.done:
            call(cast("T", self._value))
        else:
            self._waiting.append(call)
