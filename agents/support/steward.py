"""Steward: the policy by which the answers of the others become one."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers

__all__ = ["Steward"]

#: What stands for an urgency that nobody may vouch for: a person looks at it.
_DOUBT: Final = 0.5
_TRUST_MIN: Final = 0.4


class Steward:
    """Answers the urgency that counts.

    A RowModel's part: the reader's before the classifier's, for it was asked where that one was not
    sure; never below one half where the intake has doubts.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the three scores; NaN is no answer."""
        names = ("intake.score", "classifier.score", "reader.score")
        read, cheap, strong = np.array([[row[name] for name in names] for row in rows], float).T
        urgency = np.where(np.isnan(strong), cheap, strong)
        trusted = (read >= _TRUST_MIN) & ~np.isnan(urgency)
        urgency = np.nan_to_num(urgency, nan=_DOUBT)
        return Answers(np.where(trusted, urgency, np.maximum(urgency, _DOUBT)))
