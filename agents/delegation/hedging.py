"""Hedging: a call that takes longer than nearly all others is made a second time.

The first answer wins. The wait is the 95th percentile of what calls took lately, so that one call
in twenty is doubled where nothing is wrong; `retrying.ExtraLoad` bounds it where something is.
After J. Dean and L. A. Barroso, The Tail at Scale, 2013.
"""

from collections import deque
from typing import Final

__all__ = ["CALLS_MIN", "Durations"]

#: Fewer calls say nothing about the slowest of them.
CALLS_MIN: Final = 20
_CALLS_KEPT: Final = 256
_SHARE: Final = 0.95


class Durations:
    """What the calls of one model took lately."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: deque[int] = deque(maxlen=_CALLS_KEPT)
        self._found: int | None = None

    def add(self, duration_ms: int) -> None:
        """Take that of a call that was answered."""
        self._kept.append(duration_ms)
        self._found = None

    @property
    def p95_ms(self) -> int | None:
        """Up to which 95 of 100 calls were answered; None while too few are known."""
        if len(self._kept) < CALLS_MIN:
            return None
        if self._found is None:
            ranked = sorted(self._kept)
            self._found = ranked[min(int(_SHARE * len(ranked)), len(ranked) - 1)]
        return self._found
