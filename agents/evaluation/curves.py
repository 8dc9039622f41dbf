"""What each cut of the scores would mean: precision and recall, cost, a reviewer's load.

A cut takes every row from some score on. Points go from the highest score down, so that more and
more rows are taken.
"""

from dataclasses import dataclass

import numpy as np

from batuta.agents.evaluation.ranking import Booleans, Numbers, cut_counts

__all__ = ["Costs", "Curve", "cost_curve", "load_curve", "precision_recall", "thinned"]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a line, in order."""

    xs: Numbers
    ys: Numbers

    def __post_init__(self) -> None:
        assert len(self.xs) == len(self.ys), "one y for each x"

    def __len__(self) -> int:
        return len(self.xs)


@dataclass(frozen=True, slots=True)
class Costs:
    """What mistakes and people cost, in one currency.

    Attributes:
        losses: what is lost where a positive row is not taken; one element per row.
        review: the price of looking at one row.
    """

    losses: Numbers
    review: float


def precision_recall(positive: Booleans, scores: Numbers) -> Curve:
    """Return precision over recall.

    >>> precision_recall(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])).xs.tolist()
    [0.5, 0.5, 1.0]
    """
    taken, found = cut_counts(positive, scores)
    return Curve(found / max(int(np.count_nonzero(positive)), 1), found / taken)


def cost_curve(positive: Booleans, scores: Numbers, costs: Costs) -> Curve:
    """Return the whole cost over how many rows are reviewed: reviews, and positives missed.

    The first point is that of reviewing nothing.

    >>> costs = Costs(losses=np.array([50.0, 0.0, 30.0]), review=1.0)
    >>> cost_curve(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), costs).ys.tolist()
    [80.0, 31.0, 32.0, 3.0]
    """
    order = np.argsort(-scores, kind="stable")
    saved = np.cumsum(np.where(positive, costs.losses, 0.0)[order])
    taken, _ = cut_counts(positive, scores)
    lost = float(saved[-1]) if len(saved) else 0.0
    missed = np.concatenate(([lost], lost - saved[taken - 1]))
    reviewed = np.concatenate(([0.0], taken.astype(np.float64)))
    return Curve(reviewed, missed + costs.review * reviewed)


def load_curve(positive: Booleans, scores: Numbers, days: int) -> Curve:
    """Return the share of positives that is found over how many rows are reviewed per day.

    >>> load_curve(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), days=2).xs.tolist()
    [0.5, 1.0, 1.5]
    """
    taken, found = cut_counts(positive, scores)
    return Curve(taken / days, found / max(int(np.count_nonzero(positive)), 1))


def thinned(curve: Curve, points_max: int) -> Curve:
    """Return the curve with at most `points_max` of its points, the first and the last among them.

    They are spread evenly along the line as it is drawn: a steep beginning keeps its shape, however
    many points lie on a flat end.

    >>> line = Curve(np.arange(100.0), np.arange(100.0))
    >>> thinned(line, 4).xs.tolist()
    [0.0, 33.0, 66.0, 99.0]
    """
    if len(curve) <= points_max:
        return curve
    walked = np.concatenate(([0.0], np.cumsum(_steps(curve.xs) + _steps(curve.ys))))
    marks = np.linspace(0.0, walked[-1], points_max)
    kept = np.unique(np.minimum(np.searchsorted(walked, marks - 1e-12), len(curve) - 1))
    kept[-1] = len(curve) - 1
    return Curve(curve.xs[kept], curve.ys[kept])


def _steps(values: Numbers) -> Numbers:
    """Return how far each value is from the one before, as shares of their whole range."""
    span = float(np.ptp(values))
    return np.abs(np.diff(values)) / span if span else np.zeros(len(values) - 1)
