"""The fraud handbook's baseline week: features as published, figures at least as good.

Here the pipeline's own tables and model walk the data set alone. Whatever goes through topics must
come to the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.evaluation.report import feature_differences
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.training_history import (
    HISTORY_INPUTS,
    FraudHistory,
    features_when_due,
    fit_forest_on,
)
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.data.histories import read_history, read_oracle

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.evaluation.ranking import Numbers
    from batuta.agents.fraud.data import Transactions
    from batuta.agents.understanding.features import Features

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

WEEKS = Weeks(train_start=115)
SEEDS = 5


@pytest.fixture(scope="module")
def history(fraud_dir: Path) -> Transactions:
    whole = read_history(FraudHistory(), fraud_dir)
    return whole.before(WEEKS.test_end)


@pytest.fixture(scope="module")
def features(history: Transactions) -> Features:
    return features_when_due(history)


def test_the_weeks_are_the_published_ones(history: Transactions) -> None:
    days, positive = history.days, history.positive
    trained = WEEKS.training_rows(days)
    tested = WEEKS.test_rows(days, history.cards, positive)
    assert (len(trained), np.count_nonzero(positive[trained])) == (67_240, 598)
    assert (len(tested), np.count_nonzero(positive[tested])) == (58_264, 385)


def test_features_are_the_published_ones_but_for_two_rows_of_one_second(
    fraud_dir: Path, history: Transactions, features: Features
) -> None:
    oracle = read_oracle(FraudHistory(), fraud_dir, history)
    assert oracle is not None
    assert len(oracle.rows) == 201_295
    columns = [HISTORY_INPUTS.index(name) for name in oracle.names]
    assert feature_differences(features[oracle.rows][:, columns], oracle) <= 2


async def test_figures_reach_the_published_ones(history: Transactions, features: Features) -> None:
    found: list[dict[str, float]] = []
    for seed in range(SEEDS):
        trained = fit_forest_on(history, features, WEEKS, seed)
        model = OnnxModel.load(trained.data, trained.card)
        scores = await scored(model, history, features)
        found.append(dict(FraudHistory().measure(history, WEEKS, scores).metrics))
    mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    assert mean["auc"] >= 0.865, found
    assert mean["ap"] >= 0.655, found
    assert mean["cp_at_100"] >= 0.285, found


async def scored(model: OnnxModel, history: Transactions, features: Features) -> Numbers:
    scores = np.full(len(history), np.nan)
    rows = np.flatnonzero(history.days >= WEEKS.test_start)
    for part in np.array_split(rows, len(rows) // 2_000):
        scores[part] = await model.answer(features[part].astype(np.float32))
    return scores
