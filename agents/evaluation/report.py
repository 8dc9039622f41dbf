"""What an evaluation found: figures, the published ones beside them, and curves to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from batuta.agents.evaluation.curves import Curve
from batuta.agents.evaluation.ranking import Integers, Numbers

__all__ = [
    "Chart",
    "Evaluation",
    "Line",
    "Oracle",
    "PublishedFigures",
    "feature_differences",
    "mean_of",
]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart, by name."""

    name: str
    curve: Curve


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over the same axes.

    Attributes:
        title: what the chart says, in a few words.
        x_label, y_label: with their units.
        lines: what is drawn, the first most prominently.
    """

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """What somebody else reached: `metrics` holds some of those of the evaluation."""

    name: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, whole.

    Attributes:
        metrics: figure by name, in the order in which they are shown.
        published: the figures of others on the same rows, or what comes nearest to them.
        facts: what was measured on, in words and numbers.
        charts: for people.
        name: whose figures `metrics` are.
    """

    metrics: Mapping[str, float]
    published: tuple[PublishedFigures, ...]
    facts: Mapping[str, int | float | str] = field(default_factory=dict[str, int | float | str])
    charts: tuple[Chart, ...] = ()
    name: str = "batuta"


@dataclass(frozen=True, slots=True)
class Oracle:
    """Published feature values of some rows of a history.

    Attributes:
        names: of the features, as ours are called.
        rows: of the history.
        values: (rows, names).
    """

    names: tuple[str, ...]
    rows: Integers
    values: Numbers

    def __post_init__(self) -> None:
        assert self.values.shape == (len(self.rows), len(self.names)), self.values.shape


def mean_of(evaluations: Sequence[Evaluation], name: str) -> Evaluation:
    """Return the mean of several models' figures on the same rows; all else is the first one's.

    Args:
        evaluations: one per model, at least one.
        name: what the mean is of.
    """
    first, names = evaluations[0], list(evaluations[0].metrics)
    means = {
        metric: float(np.mean([one.metrics[metric] for one in evaluations])) for metric in names
    }
    return replace(first, metrics=means, name=name)


def feature_differences(ours: Numbers, oracle: Oracle, tolerance: float = 1e-6) -> int:
    """Return how many rows have a feature that is not the oracle's, or none at all.

    Args:
        ours: (rows, names) as the oracle has them; NaN where a row has no such feature.
        oracle: what is published.
        tolerance: how far from each other two computations of the same number may be.
    """
    assert ours.shape == oracle.values.shape, ours.shape
    same = np.abs(ours - oracle.values) <= tolerance  # NaN is never the same
    return int(np.count_nonzero(~np.all(same, axis=1)))
