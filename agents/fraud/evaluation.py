"""How well scores find the handbook's frauds, beside what its authors published.

Published figures: Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection
(2022), chapters 3 and 5: those of the baseline week for its own days, for other days the means of
the authors' prequential validation over four trainings, which is the nearest there is.
"""

from typing import Final

import numpy as np

from batuta.agents.evaluation.curves import (
    Costs,
    Curve,
    cost_curve,
    load_curve,
    precision_recall,
    thinned,
)
from batuta.agents.evaluation.entity_precision import (
    WatchedRows,
    best_entity_precision,
    entity_precision,
)
from batuta.agents.evaluation.ranking import Numbers, average_precision, roc_auc
from batuta.agents.evaluation.report import Chart, Evaluation, Line, PublishedFigures
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.data import Transactions
from batuta.schemas.errors import UsageError

__all__ = ["BASELINE_START", "measure_frauds"]

#: The first training day of the published baseline.
BASELINE_START: Final = 115
_WATCHED: Final = 100
_REVIEW_COST: Final = 2.5
_POINTS_MAX: Final = 400
#: Beyond this many reviews a day nobody looks any more, and the interesting part is left of it.
_REVIEWS_PER_DAY_MAX: Final = 1_000


def _published(name: str, auc: float, ap: float, cp_at_100: float) -> PublishedFigures:
    return PublishedFigures(name, {"auc": auc, "ap": ap, "cp_at_100": cp_at_100})


_BASELINE: Final = (
    _published("logistic regression", 0.871, 0.606, 0.291),
    _published("random forest, 100 trees", 0.867, 0.658, 0.287),
    _published("XGBoost", 0.862, 0.639, 0.273),
)
_PREQUENTIAL: Final = (
    _published("logistic regression, mean of four weeks", 0.868, 0.623, 0.298),
    _published("random forest, mean of four weeks", 0.870, 0.678, 0.299),
    _published("best of all, mean of four weeks", 0.876, 0.694, 0.303),
)


def measure_frauds(history: Transactions, weeks: Weeks, scores: Numbers) -> Evaluation:
    """Measure scores on the test days.

    Args:
        history: every transaction.
        weeks: which days trained and which test.
        scores: one per transaction, NaN where none was given.

    Raises:
        UsageError: the history does not reach the test days, or a score is missing there.
    """
    days = history.days
    weeks.check_within(days)
    rows = weeks.test_rows(days, history.cards, history.positive)
    missing = int(np.count_nonzero(np.isnan(scores[rows])))
    if missing:
        raise UsageError(f"{missing:,} of {len(rows):,} transactions of the test have no score")
    watched = WatchedRows(days[rows], history.cards[rows], history.positive[rows], scores[rows])
    return Evaluation(
        metrics={
            "auc": roc_auc(watched.positive, watched.scores),
            "ap": average_precision(watched.positive, watched.scores),
            "cp_at_100": entity_precision(watched, _WATCHED),
        },
        published=_BASELINE if weeks.train_start == BASELINE_START else _PREQUENTIAL,
        facts={
            "data": "simulated",
            "train_days": f"{weeks.train_start}-{weeks.train_end - 1}",
            "test_days": f"{weeks.test_start}-{weeks.test_end - 1}",
            "test_transactions": len(rows),
            "test_frauds": int(np.count_nonzero(watched.positive)),
            "cp_at_100_ceiling": best_entity_precision(watched, _WATCHED),
        },
        charts=_charts(watched, history.amounts[rows], weeks.test_days),
    )


def _charts(watched: WatchedRows, amounts: Numbers, days: int) -> tuple[Chart, ...]:
    positive, scores = watched.positive, watched.scores
    costs = Costs(amounts, _REVIEW_COST)
    cost, load = cost_curve(positive, scores, costs), load_curve(positive, scores, days)
    per_day = Curve(cost.xs / days, cost.ys / days)
    return (
        Chart(
            "Precision and recall",
            "recall (share of frauds found)",
            "precision (share of alarms that are frauds)",
            (Line("model", thinned(precision_recall(positive, scores), _POINTS_MAX)),),
        ),
        Chart(
            f"Cost, with a review at {_REVIEW_COST:.2f}",
            "reviews per day",
            "cost per day (frauds not found, and reviews)",
            (Line("model", _start_of(per_day)),),
        ),
        Chart(
            "Reviewer load",
            "reviews per day",
            "recall (share of frauds found)",
            (Line("model", _start_of(load)),),
        ),
    )


def _start_of(curve: Curve) -> Curve:
    near = curve.xs <= _REVIEWS_PER_DAY_MAX
    return thinned(Curve(curve.xs[near], curve.ys[near]), _POINTS_MAX)
