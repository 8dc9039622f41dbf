"""The circuit breaker of one model: one that fails too often is left alone for a while.

    closed     the model is asked; the share of calls that failed is watched over a sliding window
    open       nobody asks, until it has rested
    half_open  one call at a time is let through, a probe: it closes the breaker, or opens it again

What came of a call counts only in the state it was made in: a call that outlives its state says
nothing about the next one. The clock is the caller's, and never goes back. After M. Nygard, Release
It!, 2007.

    breaker = Breaker(BreakerRule(failures_share=0.2, window_ms=30_000))
    ticket = breaker.admit(now_ms)                    # None: do not ask
    breaker.settle(ticket, now_ms, failed=True)       # or breaker.release(ticket): nobody knows
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["TRANSITIONS", "Breaker", "BreakerRule", "BreakerState"]

BreakerState = Literal["closed", "open", "half_open"]
Happening = Literal["tripped", "rested", "proved", "failed"]

#: The whole life of a breaker.
TRANSITIONS: Final[dict[tuple[BreakerState, Happening], BreakerState]] = {
    ("closed", "tripped"): "open",
    ("open", "rested"): "half_open",
    ("half_open", "proved"): "closed",
    ("half_open", "failed"): "open",
}
#: In so many steps the window slides.
_STEPS: Final = 10


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """When a breaker opens, and for how long.

    Attributes:
        failures_share: of the calls within the window, above 0 and up to 1.
        window_ms: how far back calls count.
        calls_min: fewer calls within the window say nothing.
        open_ms: how long the model rests before a probe.
    """

    failures_share: float = 0.5
    window_ms: int = 30_000
    calls_min: int = 20
    open_ms: int = 10_000


class Breaker:
    """The state machine.

    Attributes:
        state: where it stands; open turns half open with the first call after the rest.
    """

    def __init__(self, rule: BreakerRule) -> None:
        """Begin closed."""
        self.state: BreakerState = "closed"
        self._rule = rule
        self._window = _Window(rule.window_ms)
        self._opened_ms = 0
        #: How often the state has changed: tickets of another term count for nothing.
        self._term = 0
        self._probing = False

    def refuses(self, now_ms: int) -> bool:
        """Say whether a call made now would not be let through."""
        if self.state == "open":
            return now_ms < self._opened_ms + self._rule.open_ms
        return self._probing

    def admit(self, now_ms: int) -> int | None:
        """Let a call through and return its ticket, to be settled or released; None: do not ask."""
        if self.refuses(now_ms):
            return None
        if self.state == "open":
            self._go("rested")
        self._probing = self.state == "half_open"
        return self._term

    def settle(self, ticket: int, now_ms: int, *, failed: bool) -> None:
        """Take what came of a call."""
        if ticket != self._term:
            return
        if self.state == "half_open":
            self._go("failed" if failed else "proved", now_ms)
            return
        self._window.add(now_ms, failed=failed)
        calls, failures = self._window.counts(now_ms)
        if calls >= self._rule.calls_min and failures >= self._rule.failures_share * calls:
            self._go("tripped", now_ms)

    def release(self, ticket: int) -> None:
        """Note that nobody will know what comes of a call."""
        if ticket == self._term:
            self._probing = False

    def _go(self, happening: Happening, now_ms: int = 0) -> None:
        self.state = TRANSITIONS[self.state, happening]
        self._term += 1
        self._probing = False
        if self.state == "open":
            self._opened_ms = now_ms
        if self.state == "closed":
            self._window = _Window(self._rule.window_ms)


class _Window:
    """Calls and failures over the last so many milliseconds, give or take a tenth."""

    def __init__(self, window_ms: int) -> None:
        self._step_ms = max(window_ms // _STEPS, 1)
        #: Number of the step, calls, failures; oldest first.
        self._steps: deque[list[int]] = deque()

    def add(self, now_ms: int, *, failed: bool) -> None:
        number = now_ms // self._step_ms
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, 0, 0])
        self._steps[-1][1] += 1
        self._steps[-1][2] += failed

    def counts(self, now_ms: int) -> tuple[int, int]:
        oldest = now_ms // self._step_ms - _STEPS
        while self._steps and self._steps[0][0] <= oldest:
            self._steps.popleft()
        return sum(step[1] for step in self._steps), sum(step[2] for step in self._steps)
