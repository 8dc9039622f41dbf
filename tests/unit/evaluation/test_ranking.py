"""Figures equal hand-computed ones, and scikit-learn's."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from batuta.agents.evaluation.curves import (
    Costs,
    Curve,
    cost_curve,
    load_curve,
    precision_recall,
    thinned,
)
from batuta.agents.evaluation.ranking import average_precision, cut_counts, roc_auc
from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.agents.evaluation.ranking import Booleans, Numbers

    Figure = Callable[[Booleans, Numbers], float]

POSITIVE = np.array([True, False, True, False, False])
SCORES = np.array([0.9, 0.8, 0.3, 0.3, 0.1])


def test_by_hand() -> None:
    # Pairs won: 0.9 beats three; 0.3 beats 0.1, ties with 0.3, loses to 0.8.
    assert roc_auc(POSITIVE, SCORES) == pytest.approx(4.5 / 6)
    # Cuts: 1 of 1, 1 of 2, 2 of 4, 2 of 5.
    assert average_precision(POSITIVE, SCORES) == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert [part.tolist() for part in cut_counts(POSITIVE, SCORES)] == [[1, 2, 4, 5], [1, 1, 2, 2]]


ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]) | st.floats(0, 1)),
    min_size=2,
    max_size=200,
).filter(lambda rows: len({positive for positive, _ in rows}) == 2)


@given(ROWS)
@settings(deadline=None)
def test_as_scikit_learn_has_it(rows: list[tuple[bool, float]]) -> None:
    positive = np.array([positive for positive, _ in rows])
    scores = np.array([score for _, score in rows])
    theirs = cast("tuple[Figure, Figure]", (roc_auc_score, average_precision_score))
    assert roc_auc(positive, scores) == pytest.approx(theirs[0](positive, scores))
    assert average_precision(positive, scores) == pytest.approx(theirs[1](positive, scores))
    precision, recall, _ = cast(
        "tuple[Numbers, Numbers, Numbers]", precision_recall_curve(positive, scores)
    )
    ours = precision_recall(positive, scores)
    np.testing.assert_allclose(ours.ys, precision[:-1][::-1])
    np.testing.assert_allclose(ours.xs, recall[:-1][::-1])


@pytest.mark.parametrize("figure", [roc_auc, average_precision])
@pytest.mark.parametrize("label", [True, False])
def test_rows_of_one_kind_cannot_be_measured(figure: Figure, label: bool) -> None:  # noqa: FBT001
    with pytest.raises(UsageError, match=rf"{3 * label} of 3 rows are positive"):
        figure(np.full(3, label), np.arange(3.0))


def test_costs_are_reviews_and_what_they_do_not_find() -> None:
    costs = Costs(losses=np.array([100.0, 9.0, 40.0, 9.0, 9.0]), review=2.0)
    curve = cost_curve(POSITIVE, SCORES, costs)
    assert curve.xs.tolist() == [0.0, 1.0, 2.0, 4.0, 5.0]
    assert curve.ys.tolist() == [140.0, 42.0, 44.0, 8.0, 10.0]


def test_load_is_counted_per_day() -> None:
    curve = load_curve(POSITIVE, SCORES, days=2)
    assert curve.xs.tolist() == [0.5, 1.0, 2.0, 2.5]
    assert curve.ys.tolist() == [0.5, 0.5, 1.0, 1.0]


def test_a_thinned_curve_keeps_a_steep_beginning_before_a_long_flat_end() -> None:
    # As precision over recall is: a few hundred frauds, then tens of thousands of others.
    steep, flat = np.linspace(0.0, 0.8, 400), np.linspace(0.8, 1.0, 60_000)
    whole = Curve(np.concatenate((steep, flat)), np.concatenate((1 - steep, np.full(60_000, 0.2))))
    thin = thinned(whole, 100)
    assert len(thin) <= 100
    assert float(np.max(np.diff(thin.xs))) < 0.03
    assert (thin.xs[0], thin.xs[-1]) == (0.0, 1.0)


def test_a_thinned_curve_keeps_its_ends() -> None:
    line = Curve(np.arange(1_000.0), np.arange(1_000.0) ** 2)
    thin = thinned(line, 50)
    assert (len(thin), thin.xs[0], thin.ys[-1]) == (50, 0.0, 999.0**2)
    assert thinned(thin, 50) is thin
