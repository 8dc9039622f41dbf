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

    A RowModel's part: a person's before the reader's before the classifier's, for each was asked
    where the one before was not sure; never below one half where the intake has doubts and no
    person has looked.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the four scores; NaN is no answer."""
        names = ("intake.score", "classifier.score", "reader.score", "clerk.score")
        given = np.array([[row[name] for name in names] for row in rows], float).reshape(-1, 4)
        read, cheap, strong, person = given.T
        urgency = np.where(np.isnan(strong), cheap, strong)
        trusted = (read >= _TRUST_MIN) & ~np.isnan(urgency) | ~np.isnan(person)
        urgency = np.nan_to_num(np.where(np.isnan(person), urgency, person), nan=_DOUBT)
        return Answers(np.where(trusted, urgency, np.maximum(urgency, _DOUBT)))
