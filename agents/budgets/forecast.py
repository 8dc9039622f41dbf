"""Forecasts: when a budget will be used up if it goes on as in its window so far."""

from typing import NamedTuple

from batuta.agents.budgets.windows import Window

__all__ = ["Forecast", "forecast"]


class Forecast(NamedTuple):
    """What is expected of a budget in this window.

    Attributes:
        ends_at_ms: when it is used up; None where the window turns before.
        rate_nano_per_hour: how fast it was used.
        basis: what that was told from.
    """

    ends_at_ms: int | None
    rate_nano_per_hour: int
    basis: str


def forecast(used_nano: int, limit_nano: int, window: Window, now_ms: int) -> Forecast:
    """Draw the rate over the window so far on.

    >>> forecast(50, 100, Window(0, 86_400_000), 3_600_000).ends_at_ms
    7200000
    """
    elapsed_ms = max(now_ms - window.start_ms, 1)
    rate = used_nano * 3_600_000 // elapsed_ms
    basis = f"the mean of the window's first {elapsed_ms / 3_600_000:.2f} h"
    if used_nano >= limit_nano:
        return Forecast(now_ms, rate, basis)
    if used_nano <= 0:
        return Forecast(None, 0, basis)
    ends_at_ms = now_ms + -(-(limit_nano - used_nano) * elapsed_ms // used_nano)
    return Forecast(ends_at_ms if ends_at_ms < window.end_ms else None, rate, basis)
