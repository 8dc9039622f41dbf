"""Range: a score within bounds, and a confidence that is one."""

import numpy as np

from batuta.agents.verification.port import CheckBatch, Verdict

__all__ = ["RangeCheck"]


class RangeCheck:
    """Passes scores from `low` to `high` whose confidence is a number from 0 to 1.

    RangeCheck(0.0, 0.95)    # nothing is as sure as that
    """

    reasons: tuple[str, ...] = ("out_of_range",)

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        """Take the bounds, both included."""
        self._low = low
        self._high = high

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each answer whether it is within bounds; NaN is not."""
        scores, sure = batch.scores, batch.confidence
        fits = (scores >= self._low) & (scores <= self._high) & (sure >= 0.0) & (sure <= 1.0)
        codes = (~fits).view(np.int8)
        if fits.all():
            return Verdict(codes)
        said = f"the score must be from {self._low:g} to {self._high:g}"
        return Verdict(codes, dict.fromkeys(np.flatnonzero(~fits).tolist(), said))
