"""Figures of a ranking: how far up the scores put what is positive."""

from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.schemas.errors import UsageError

__all__ = ["Booleans", "Integers", "Numbers", "average_precision", "cut_counts", "roc_auc"]

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

_ONE_KIND: Final = "nothing can be measured: {0} of {1} rows are positive, and some of each are due"


def roc_auc(positive: Booleans, scores: Numbers) -> float:
    """Return the chance that a positive is scored above a negative; ties count half.

    The area under the ROC curve as the Mann-Whitney statistic: Hanley and McNeil, The Meaning and
    Use of the Area under a ROC Curve (1982).

    >>> roc_auc(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]))
    0.75

    Raises:
        UsageError: all rows are positive, or none is.
    """
    positives, negatives = _kinds(positive)
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(sizes) - (sizes - 1) / 2.0
    rank_sum = float(np.sum(middle_ranks[group[positive]]))
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def average_precision(positive: Booleans, scores: Numbers) -> float:
    """Return the mean precision over the positives, each at the cut that takes it in.

    The area under the precision-recall curve without interpolation: Manning, Raghavan and Schütze,
    Introduction to Information Retrieval (2008), chapter 8. Rows of equal score are taken together.

    >>> round(average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])), 4)
    0.8333

    Raises:
        UsageError: all rows are positive, or none is.
    """
    positives, _ = _kinds(positive)
    taken, found = cut_counts(positive, scores)
    gained = np.diff(found, prepend=0)
    return float(np.sum(gained * found / taken)) / positives


def cut_counts(positive: Booleans, scores: Numbers) -> tuple[Integers, Integers]:
    """Return rows taken and positives among them, for a cut at each score from the highest down.

    >>> cut_counts(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    (array([1, 3]), array([1, 2]))
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    last = np.append(sorted_scores[1:] != sorted_scores[:-1], [True])[: len(order)]
    found = np.cumsum(positive[order], dtype=np.int64)[last]
    return np.flatnonzero(last) + 1, found


def _kinds(positive: Booleans) -> tuple[int, int]:
    rows, positives = len(positive), int(np.count_nonzero(positive))
    if not 0 < positives < rows:
        raise UsageError(_ONE_KIND.format(positives, rows))
    return positives, rows - positives
