"""Trains the sample model: boosted trees on the history of a generated world, as ONNX.

Features come from the very windows that answer live, so nothing a tree has learnt is computed
otherwise later. Trees are few and small: a batch costs well under 3 us a row. Scores are
probabilities: nothing is reweighted, so thresholds can be read as odds.
"""

from hashlib import sha256
from typing import Final

import numpy as np

from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.generator import DAY_MS, CardPlan, CardWorld, Day
from batuta.agents.fraud.pipeline import BLOCK_FROM, FRAUD, REVIEW_FROM
from batuta.agents.fraud.trainer import RECIPE
from batuta.agents.models.boosted_trees import TreePlan, fit
from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.fitted import Labels
from batuta.agents.models.port import Matrix, Scores
from batuta.agents.understanding.features import Features, window_names
from batuta.agents.understanding.windows import TrailingWindows
from batuta.schemas.pipeline import WindowFeature

__all__ = ["INPUTS", "features_of", "train"]

#: What the model sees, in order.
INPUTS: Final = (
    *FraudFeatures.names,
    *window_names(FRAUD.ingestion_windows[0]),
    *window_names(FRAUD.scoring_windows[0]),
)
_DAYS: Final = 30
_HELD_OUT_DAYS: Final = 10
_SEED: Final = 20_180_401
_TREES: Final = TreePlan()


def train(seed: int = _SEED) -> TrainedModel:
    """Train on the first days of a generated world, and measure on those that follow.

    Args:
        seed: of the world; the same seed gives the same file with the same libraries.
    """
    history = CardWorld(CardPlan(seed)).history(_DAYS + _HELD_OUT_DAYS)
    inputs, labels = features_of(history), history.fraud > 0
    past = history.times_ms < _DAYS * DAY_MS
    fitted = fit(inputs[past], labels[past], _TREES)
    data = fitted.to_onnx()
    card = ModelCard(
        name="forest",
        pipeline=FRAUD.name,
        sha256=sha256(data).hexdigest(),
        inputs=INPUTS,
        algorithm=f"gradient boosting, {_TREES.trees} trees of {_TREES.leaves} leaves",
        recipe=RECIPE,
        trained_on={
            "source": "generated",
            "seed": seed,
            "days": _DAYS,
            "events": int(past.sum()),
            "frauds": int(labels[past].sum()),
        },
        metrics=_measured(fitted.scores(inputs[~past]), labels[~past]),
    )
    return TrainedModel(data, card)


def features_of(history: Day) -> Matrix:
    """Return what the model would have seen of each transaction, (len(history), len(INPUTS))."""
    columns = (
        FraudFeatures().of_arrays(history.times_ms, history.amounts),
        _observed(FRAUD.ingestion_windows[0], history.cards.tolist(), history),
        _observed(FRAUD.scoring_windows[0], history.terminals.tolist(), history),
    )
    return np.hstack(columns).astype(np.float32)


def _observed(feature: WindowFeature, keys: list[int], history: Day) -> Features:
    with_mean = feature.mean_of is not None
    windows = TrailingWindows(b"w", feature.windows_ms, with_mean=with_mean)
    windows.begin()
    return windows.observe([str(key) for key in keys], history.times_ms, history.amounts)


def _measured(scores: Scores, labels: Labels) -> dict[str, float]:
    """Return how well held-out transactions are told apart, and what the thresholds make of it."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: PLC0415

    caught, blocked = scores >= REVIEW_FROM, scores >= BLOCK_FROM
    measured = {
        "roc_auc": roc_auc_score(labels, scores),
        "average_precision": average_precision_score(labels, scores),
        "review_share": np.mean(caught & ~blocked),
        "block_share": np.mean(blocked),
        "frauds_caught": np.mean(caught[labels]),
        "block_precision": np.mean(labels[blocked]) if bool(blocked.any()) else 0.0,
    }
    return {name: round(float(value), 4) for name, value in measured.items()}
