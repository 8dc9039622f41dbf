"""What a plan, or a part of it, has come to for each event of a batch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores
from batuta.agents.verification.taint import Taints

__all__ = ["Flags", "Reached"]

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Reached:
    """What a plan, or a part of it, has come to.

    Attributes:
        done: (rows,) whether nothing more is to be heard.
        usable: (rows,) whether there is an answer; only where `done`.
        scores, confidence: (rows,) of the answer.
        marked: (rows,) whether another than the intended one answered.
        taint: (rows,) what may be wrong with the answer; `verification.taint` has the rule.
    """

    done: Flags
    usable: Flags
    scores: Scores
    confidence: Scores
    marked: Flags
    taint: Taints

    @classmethod
    def nothing(cls, rows: int) -> "Reached":
        """Return what stands where nothing was heard yet."""

        def no() -> Flags:
            return np.zeros(rows, np.bool_)

        none = np.full(rows, np.nan)
        return cls(no(), no(), none, none.copy(), no(), np.zeros(rows, np.uint8))

    def put(self, where: Flags, other: "Reached") -> None:
        """Take over some rows of another."""
        for mine, theirs in (
            (self.done, other.done),
            (self.usable, other.usable),
            (self.scores, other.scores),
            (self.confidence, other.confidence),
            (self.marked, other.marked),
            (self.taint, other.taint),
        ):
            np.copyto(mine, theirs, where=where)
