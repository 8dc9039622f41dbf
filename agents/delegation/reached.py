"""What a plan, or a part of it, has come to for each event of a batch."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores
from batuta.agents.verification.taint import Taints

__all__ = ["NOBODY", "Answerers", "Flags", "Reached"]

Flags = npt.NDArray[np.bool_]
#: (rows,) whose answer it is, by place among all who may be asked; NOBODY: of no one alone.
Answerers = npt.NDArray[np.int16]
NOBODY: Final = -1


@dataclass(slots=True)
class Reached:
    """What a plan, or a part of it, has come to.

    Attributes:
        done: (rows,) whether nothing more is to be heard.
        usable: (rows,) whether there is an answer; only where `done`.
        scores, confidence: (rows,) of the answer.
        marked: (rows,) whether another than the intended one answered.
        taint: (rows,) what may be wrong with the answer; `verification.taint` has the rule.
        by: whose answer it is; None where no checkpoint around it wants to know.
    """

    done: Flags
    usable: Flags
    scores: Scores
    confidence: Scores
    marked: Flags
    taint: Taints
    by: Answerers | None = None

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
        if self.by is not None and other.by is not None:
            np.copyto(self.by, other.by, where=where)
