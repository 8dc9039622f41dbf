"""How old events were when their answer was seen: percentiles in bounded memory.

One counter per millisecond up to a minute, so a percentile is exact to the millisecond however
long the run.
"""

from typing import Final

__all__ = ["Ages"]

_MS_MAX: Final = 60_000


class Ages:
    """A histogram of ages in milliseconds; ages above a minute count as a minute."""

    def __init__(self) -> None:
        self._counts = [0] * (_MS_MAX + 1)
        self._total = 0

    def add(self, age_ms: int) -> None:
        """Count one age."""
        self._counts[min(max(age_ms, 0), _MS_MAX)] += 1
        self._total += 1

    def percentile(self, share: float) -> int | None:
        """Return the least age that `share` (0 to 1) of all are not above; None without any."""
        assert 0 <= share <= 1, share
        if not self._total:
            return None
        wanted, seen = share * self._total, 0
        for age_ms, count in enumerate(self._counts):
            seen += count
            if seen >= wanted and seen:
                return age_ms
        raise AssertionError(seen)
