"""Checks of the user's own that see scores and features alone, as components like any other."""

import numpy as np

from batuta.agents.policy.checks import Check
from batuta.agents.verification.port import CheckBatch, Verdict

__all__ = ["OwnCheck"]


class OwnCheck:
    """Passes what a `Check` passes; one reason stands for all it may find."""

    def __init__(self, check: Check, reason: str) -> None:
        """Take the check, and how what it refuses is called."""
        self._check = check
        self.reasons: tuple[str, ...] = (reason,)

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each answer whether it may be used.

        It is given copies: what it does to them later is nobody's concern.
        """
        passes = np.asarray(self._check.passes(batch.scores.copy(), batch.features.copy()))
        if passes.shape != (len(batch),) or passes.dtype != np.bool_:
            said = f"a check answered {passes.dtype} of the shape {passes.shape}, no truth values"
            raise ValueError(said)
        return Verdict((~passes).view(np.int8))
