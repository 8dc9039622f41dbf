"""Windows of budgets: hours, days and months of the clock, in UTC.

Money is spent when a model is asked, whenever the event happened: windows go by processing time.
"""

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

__all__ = ["FORGET_MS", "Period", "Window", "window_at"]

Period = Literal["hour", "day", "month"]
#: So long after a window has turned nothing of it matters any more, should a clock jump back a bit.
FORGET_MS: Final = 3_600_000
_MONTHS: Final = 12


class Window(NamedTuple):
    """From when on until when, milliseconds since 1970 UTC; the end is not in it."""

    start_ms: int
    end_ms: int


def window_at(period: Period, now_ms: int) -> Window:
    """Return the window that `now_ms` is in.

    >>> window_at("hour", 3_600_000)
    Window(start_ms=3600000, end_ms=7200000)
    """
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    if period == "month":
        start = now.replace(day=1, hour=0, minute=0, second=0)
        years, month = divmod(start.month, _MONTHS)
        end = start.replace(year=start.year + years, month=month + 1)
        return Window(int(start.timestamp()) * 1000, int(end.timestamp()) * 1000)
    width_ms = 3_600_000 if period == "hour" else 86_400_000
    start_ms = now_ms // width_ms * width_ms
    return Window(start_ms, start_ms + width_ms)
