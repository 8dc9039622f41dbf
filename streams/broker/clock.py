"""Where the broker's time comes from: the running loop, or a clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarm", "Clock", "LoopClock", "ManualClock"]


class Alarm(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Make sure that the call never happens."""
        ...


class Clock(Protocol):
    """Time as the broker sees it."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as records carry them."""
        ...

    def call_later(self, delay_ms: float, call: Callable[[], None]) -> Alarm:
        """Call `call` once, `delay_ms` milliseconds from now."""
        ...


class LoopClock:
    """The clock of the running asyncio loop and of the machine."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: float, call: Callable[[], None]) -> Alarm:
        """Call `call` once, `delay_ms` milliseconds from now."""
        return asyncio.get_running_loop().call_later(delay_ms / 1e3, call)


@dataclass(order=True, slots=True)
class _Entry:
    due_ms: float
    order: int
    call: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        self.call = None


class ManualClock:
    """A clock that stands still until it is advanced; the same moves give the same history."""

    def __init__(self, start_ms: int = 1_600_000_000_000) -> None:
        self._now_ms: float = start_ms
        self._order = itertools.count()
        self._entries: list[_Entry] = []

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._now_ms)

    def call_later(self, delay_ms: float, call: Callable[[], None]) -> Alarm:
        """Call `call` once, when the clock has been advanced by `delay_ms` milliseconds."""
        entry = _Entry(self._now_ms + max(0.0, delay_ms), next(self._order), call)
        heapq.heappush(self._entries, entry)
        return entry

    def advance(self, step_ms: float) -> None:
        """Move the time, making every call that falls due on the way, in order."""
        end_ms = self._now_ms + step_ms
        while self._entries and self._entries[0].due_ms <= end_ms:
            entry = heapq.heappop(self._entries)
            self._now_ms = max(self._now_ms, entry.due_ms)
            if entry.call is not None:
                entry.call()
        self._now_ms = end_ms
