"""Calibration: what a model's word on how sure it is has come to mean.

Who says 0.9 is right nine times of ten only where somebody has counted. A calibration is a rising
line from what is said to how often it was right; between its points it is straight.

    calibration = Calibration.fitted(said, right)
    calibration.of(np.array([0.9]))        # what 0.9 has come to mean
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores

__all__ = ["ANSWERS_MIN", "Calibration", "calibration_error"]

Flags = npt.NDArray[np.bool_]

#: Fewer answers say little about how often any of them is right.
ANSWERS_MIN: Final = 100
#: Points of a line: so many groups of answers, each of as many.
_GROUPS: Final = 10
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising line from what is said to what is so, both from 0 to 1.

    Attributes:
        points: what is said, rising, and how often it was right, not falling.
    """

    points: tuple[tuple[float, float], ...]

    def of(self, confidence: Scores) -> Scores:
        """Return what confidences have come to mean; NaN stays NaN.

        >>> Calibration(((0.5, 0.5), (0.9, 0.7))).of(np.array([0.4, 0.7, 1.0])).tolist()
        [0.5, 0.6, 0.7]
        """
        said, right = zip(*self.points, strict=True)
        meant: Scores = np.round(np.interp(confidence, said, right), 12)
        return meant

    @classmethod
    def fitted(cls, said: Scores, right: Flags) -> "Calibration":
        """Return the line that answers whose truth is known lie on.

        Isotonic regression (Zadrozny and Elkan, Transforming classifier scores into accurate
        multiclass probability estimates, 2002) over groups of equally many answers.

        Args:
            said: (answers,) how sure each was.
            right: (answers,) whether it was right.
        """
        from sklearn.isotonic import isotonic_regression  # noqa: PLC0415 - half a second

        order = np.argsort(said, kind="stable")
        groups = [group for group in np.array_split(order, _GROUPS) if len(group)]
        means = np.array([said[group].mean() for group in groups])
        sizes = np.array([len(group) for group in groups], np.float64)
        shares = np.array([right[group].mean() for group in groups])
        # Groups of the same word are one.
        words, places = np.unique(np.round(means, _DIGITS), return_inverse=True)
        weights = np.bincount(places, sizes)
        shares = np.bincount(places, sizes * shares) / weights
        line = isotonic_regression(shares, sample_weight=weights, y_min=0.0, y_max=1.0)
        rounded = np.round(line, _DIGITS).tolist()
        return cls(tuple(zip(words.tolist(), rounded, strict=True)))

    def after(self, first: "Calibration") -> "Calibration":
        """Return the line of what `first` makes of a word, and this then makes of that.

        >>> first, second = Calibration(((0.5, 0.4), (1.0, 0.8))), Calibration(((0.4, 0.3),))
        >>> second.after(first).points
        ((0.5, 0.3), (1.0, 0.3))
        """
        said = np.array([word for word, _ in first.points])
        meant = np.round(self.of(first.of(said)), _DIGITS)
        return Calibration(tuple(zip(said.tolist(), meant.tolist(), strict=True)))


def calibration_error(said: Scores, right: Flags) -> float:
    """Return how far words are from what is so, on average over answers: 0 is exact.

    The expected calibration error over ten bins of one width (Naeini, Cooper and Hauskrecht,
    Obtaining well calibrated probabilities using Bayesian binning, 2015).

    >>> calibration_error(np.full(10, 0.9), np.arange(10) < 6)
    0.3
    """
    bins = np.clip((said * _GROUPS).astype(np.intp), 0, _GROUPS - 1)
    apart = np.bincount(bins, said - right, _GROUPS)
    return round(float(np.abs(apart).sum()) / max(len(said), 1), 12)
