"""Auditor: whether those who were asked agree, and had anything to read."""

from collections.abc import Mapping, Sequence

import numpy as np

from batuta.agents.models.answers import Answers
from batuta.agents.support.classifier import text_of

__all__ = ["Auditor"]


class Auditor:
    """Answers how far the answers may be trusted.

    A RowModel's part: 0 where there was nothing to read, 1 where one answered alone, else how near
    the two are.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the cleaner's value and both scores; NaN is no answer."""
        read = np.array([bool(text_of(row)) for row in rows])
        both = np.array([[row["classifier.score"], row["reader.score"]] for row in rows], float)
        apart = np.abs(both[:, 0] - both[:, 1])
        agreed = np.where(np.isnan(apart), 1.0, 1.0 - apart)
        answered = ~np.isnan(both).all(axis=1)
        return Answers(np.where(read & answered, agreed, 0.0))
