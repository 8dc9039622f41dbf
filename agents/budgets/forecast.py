"""Forecasts: when a budget will be used up if it goes on as in its window so far."""

from typing import NamedTuple

from batuta.agents.budgets.windows import Window

__all__ = ["Forecast", "forecast"]


class Forecast(NamedTuple):
    """What is expected of a budget in this window.

    Attributes:
        ends_at_ms: when it is used up; None where the window turns before.
        rate_nano_per_hour: how fast money was spent.
        basis: what that was told from.
    """

    ends_at_ms: int | None
    rate_nano_per_hour: int
    basis: str


def forecast(spent_nano: int, cap_nano: int, window: Window, now_ms: int) -> Forecast:
    """Draw the rate over the window so far on.

    Args:
        spent_nano: by leases that came back; what is out says little of how fast it will go.
        cap_nano: beyond which nothing is spent.
        window: which one.
        now_ms: the clock, within the window.

    >>> forecast(50, 100, Window(0, 86_400_000), 3_600_000).ends_at_ms
    7200000
    """
    elapsed_ms = max(now_ms - window.start_ms, 1)
    rate = spent_nano * 3_600_000 // elapsed_ms
    basis = f"the mean of the window's first {elapsed_ms / 3_600_000:.2f} h"
    if spent_nano >= cap_nano:
        return Forecast(now_ms, rate, basis)
    if spent_nano <= 0:
        return Forecast(None, 0, "nothing that was leased has come back yet")
    ends_at_ms = now_ms + -(-(cap_nano - spent_nano) * elapsed_ms // spent_nano)
    return Forecast(ends_at_ms if ends_at_ms < window.end_ms else None, rate, basis)
