"""What a transaction says by itself: its amount, and when in the day and the week it was made."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.features import Features
from batuta.schemas.ingested import Ingested

__all__ = ["FraudFeatures"]

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_NIGHT_ENDS_HOUR: Final = 7
#: The first day of 1970 was a Thursday, the third after Monday.
_WEEKDAY_OF_DAY_0: Final = 3
_SATURDAY: Final = 5


class FraudFeatures:
    """Amount, night (before 07:00 UTC) and weekend, the latter two as 0 or 1."""

    names: tuple[str, ...] = ("amount", "night", "weekend")

    def compute(self, events: Sequence[Ingested]) -> Features:
        """Return (len(events), 3) values."""
        times_ms = np.array([event.event_time_ms for event in events], np.int64)
        return self.of_arrays(times_ms, np.array([event.data["amount"] for event in events]))

    def of_arrays(
        self, times_ms: npt.NDArray[np.int64], amounts: npt.NDArray[np.float64]
    ) -> Features:
        """Return the same values for times and amounts that are arrays already."""
        night = times_ms % _DAY_MS < _NIGHT_ENDS_HOUR * _HOUR_MS
        weekend = (times_ms // _DAY_MS + _WEEKDAY_OF_DAY_0) % 7 >= _SATURDAY
        return np.column_stack((amounts, night, weekend)).astype(np.float64)
