"""Trains on the fraud handbook's history, and says what every feature was when it was due.

Events and labels are walked in the order in which an aligned replay meets them: by the time at
which each is known, a label seven days after its event, and before the event of the same moment.
The tables are the very ones that answer live.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, cast

import numpy as np

from batuta.agents.evaluation.ranking import Integers, Numbers, average_precision, roc_auc
from batuta.agents.evaluation.report import Evaluation, Oracle
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.data import (
    ORACLE_COLUMNS,
    ORACLE_FILES,
    TRANSACTION_COLUMNS,
    TRANSACTION_FILE,
    Transactions,
    oracle_of,
    transactions_of,
)
from batuta.agents.fraud.evaluation import measure_frauds
from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.pipeline import FRAUD
from batuta.agents.history import Columns, Progress, Tables, never_told
from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.forest import ForestPlan, fit_forest
from batuta.agents.understanding.features import Features, window_names
from batuta.agents.understanding.shares import (
    EVENT,
    MARKED,
    DelayedShares,
    ShareRule,
    share_names,
)
from batuta.agents.understanding.windows import TrailingWindows
from batuta.schemas.errors import UsageError
from batuta.schemas.pipeline_rules import ShareFeature

__all__ = [
    "HISTORY_INPUTS",
    "TERMINAL_RISK",
    "FraudHistory",
    "features_when_due",
    "fit_forest_on",
]

_DAY_MS: Final = 86_400_000
_BATCH: Final = 5_000
_Reached = Callable[[int], None]
#: Labels are a week late, so a terminal's last week is left out of its share.
TERMINAL_RISK: Final = ShareFeature(
    name="terminal_risk",
    by="terminal_id",
    of="fraud",
    windows_ms=(_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS),
    delay_ms=7 * _DAY_MS,
)
#: What a model of history sees, in order.
HISTORY_INPUTS: Final = (
    *FraudFeatures.names,
    *window_names(FRAUD.ingestion_windows[0]),
    *share_names(TERMINAL_RISK),
)


class FraudHistory:
    """A HistoryMapping: the handbook's transactions, and a forest on a part of them.

    Keeps the features it last trained on: models of several seeds are trained one after another.
    """

    files: Mapping[str, tuple[str, ...]] = {TRANSACTION_FILE: TRANSACTION_COLUMNS}
    oracle_files: str = ORACLE_FILES
    oracle_columns: tuple[str, ...] = ("TRANSACTION_ID", *ORACLE_COLUMNS.values())

    def __init__(self) -> None:
        self._known: tuple[Transactions, int, Features] | None = None

    def history(self, tables: Tables) -> Transactions:
        """Return the transactions that were read.

        Raises:
            UsageError: the file is not what it should be.
        """
        columns = tables[TRANSACTION_FILE]
        return transactions_of(cast("Columns", columns))

    def train(
        self, history: Transactions, weeks: Weeks, seed: int, progress: Progress = never_told
    ) -> TrainedModel:
        """Return a forest fitted to the training days; the same arguments give the same file.

        The history must begin long before those days, so that windows are full.

        Raises:
            UsageError: the history does not reach those days, or holds no fraud in them.
        """
        past = history.before(weeks.train_end)
        _check(past, weeks)
        known = self._known
        if known is None or known[0] is not history or known[1] != len(past):
            known = self._known = (history, len(past), features_when_due(past, progress))
        return fit_forest_on(past, known[2], weeks, seed)

    def oracle(self, columns: Columns, history: Transactions) -> Oracle:
        """Return the published features.

        Raises:
            UsageError: they are of another history.
        """
        return oracle_of(columns, history)

    def measure(self, history: Transactions, weeks: Weeks, scores: Numbers) -> Evaluation:
        """Return how well scores find frauds on the test days.

        Raises:
            UsageError: the history does not reach those days, or a score is missing there.
        """
        return measure_frauds(history, weeks, scores)


def features_when_due(history: Transactions, progress: Progress = never_told) -> Features:
    """Return every feature of each transaction as it was known when it was made.

    Returns:
        (len(history), len(HISTORY_INPUTS)) values.
    """
    total = 2 * len(history)
    return np.hstack(
        (
            FraudFeatures().of_arrays(history.times_ms, history.amounts),
            _card_windows(history, lambda done: progress(done, total)),
            _terminal_risk(history, lambda done: progress(len(history) + done, total)),
        )
    )


def fit_forest_on(
    history: Transactions, features: Features, weeks: Weeks, seed: int
) -> TrainedModel:
    """Fit a forest to the training days of a history whose features are known already.

    Args:
        history: as `features` are of.
        features: what `features_when_due` gave.
        weeks: which days.
        seed: of the forest.

    Raises:
        UsageError: the history does not reach those days, or holds no fraud in them.
    """
    _check(history, weeks)
    rows = weeks.training_rows(history.days)
    labels, inputs = history.positive[rows], features[rows].astype(np.float32)
    plan = ForestPlan(seed=seed)
    fitted = fit_forest(inputs, labels, plan)
    data = fitted.to_onnx()
    scores = fitted.scores(inputs)
    card = ModelCard(
        name="forest",
        pipeline=FRAUD.name,
        sha256=sha256(data).hexdigest(),
        inputs=HISTORY_INPUTS,
        algorithm=f"mixed forest, {plan.trees} trees, {plan.leaf_rows_min} rows in a leaf",
        trained_on={
            "source": TRANSACTION_FILE,
            "first_day": weeks.train_start,
            "days": weeks.train_days,
            "events": len(rows),
            "frauds": int(np.count_nonzero(labels)),
            "seed": seed,
        },
        metrics={
            "training_roc_auc": round(roc_auc(labels, scores), 4),
            "training_average_precision": round(average_precision(labels, scores), 4),
        },
    )
    return TrainedModel(data, card)


def _check(history: Transactions, weeks: Weeks) -> None:
    labels = history.positive[weeks.training_rows(history.days)]
    if not 0 < np.count_nonzero(labels) < len(labels):
        raise UsageError(
            f"days {weeks.train_start} to {weeks.train_end - 1} hold {len(labels):,} transactions "
            f"and {np.count_nonzero(labels):,} frauds: nothing can be learnt; choose other days"
        )


def _card_windows(history: Transactions, reached: _Reached) -> Features:
    windows = FRAUD.ingestion_windows[0]
    table = TrailingWindows(b"w", windows.windows_ms, with_mean=windows.mean_of is not None)
    keys, parts = list(map(str, history.cards.tolist())), list[Features]()
    for begin in range(0, len(keys), _BATCH):
        rows = slice(begin, begin + _BATCH)
        table.begin()
        parts.append(table.observe(keys[rows], history.times_ms[rows], history.amounts[rows]))
        table.changes(int(history.times_ms[rows][-1]))
        table.commit()
        reached(min(begin + _BATCH, len(keys)))
    return np.concatenate(parts)


def _terminal_risk(history: Transactions, reached: _Reached) -> Features:
    rows, kinds, known_ms = _walk(history)
    keys = list(map(str, history.terminals[rows].tolist()))
    times_ms, events = history.times_ms[rows], kinds == EVENT
    table = DelayedShares(b"r", ShareRule.of(TERMINAL_RISK))
    features = np.empty((len(history), 2 * len(TERMINAL_RISK.windows_ms)))
    for begin in range(0, len(keys), _BATCH):
        batch = slice(begin, begin + _BATCH)
        table.begin()
        taken = table.take(keys[batch], times_ms[batch], kinds[batch]).features
        features[rows[batch][events[batch]]] = taken[events[batch]]
        table.changes(int(known_ms[batch][-1]))
        table.commit()
        reached(int(np.count_nonzero(events[: begin + _BATCH])))
    return features


def _walk(history: Transactions) -> tuple[Integers, Integers, Integers]:
    """Return rows, whether each stands for its event or its label, and when that is known.

    A label that marks nothing changes nothing, so it is left out.
    """
    frauds, last_ms = np.flatnonzero(history.positive), int(history.times_ms[-1])
    rows = np.concatenate((frauds, np.arange(len(history))))
    kinds = np.where(np.arange(len(rows)) < len(frauds), MARKED, EVENT).astype(np.int64)
    known_ms = history.times_ms[rows] + np.where(kinds == MARKED, history.label_after_ms, 0)
    order = np.argsort(known_ms, kind="stable")
    order = order[known_ms[order] <= last_ms]
    return rows[order], kinds[order], known_ms[order]
