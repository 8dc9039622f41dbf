"""Auditor: whether those who were asked agree, and had anything to read."""

from collections.abc import Mapping, Sequence

import numpy as np

from batuta.agents.models.answers import Answers
from batuta.agents.support.classifier import text_of

__all__ = ["Auditor"]


class Auditor:
    """Answers how far the answers may be trusted.

    A RowModel's part: 0 where there was nothing to read, 1 where a person answered or one model
    alone, else how near the two models are.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of the cleaner's value and three scores; NaN is no answer."""
        read = np.array([bool(text_of(row)) for row in rows])
        both = np.array([[row["classifier.score"], row["reader.score"]] for row in rows], float)
        apart = np.abs(both[:, 0] - both[:, 1])
        agreed = np.where(np.isnan(apart), 1.0, 1.0 - apart)
        answered = ~np.isnan(both).all(axis=1)
        by_person = ~np.isnan(np.array([row["clerk.score"] for row in rows], float))
        return Answers(np.where(read & answered, np.where(by_person, 1.0, agreed), 0.0))
