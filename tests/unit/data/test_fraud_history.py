"""The handbook's rows become events, labels and features as they were known at their moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from batuta.agents.evaluation.report import Oracle, feature_differences
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.data import TRANSACTION_FILE, Transactions
from batuta.agents.fraud.training_history import (
    HISTORY_INPUTS,
    FraudHistory,
    features_when_due,
)
from batuta.schemas.errors import UsageError
from batuta.schemas.fraud import FraudLabel, Transaction
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.data.histories import read_history, read_oracle

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 86_400_000
WEEKS = Weeks(train_start=7, test_days=3)


@pytest.fixture(scope="module")
def history(small_history: Path) -> Transactions:
    return read_history(FraudHistory(), small_history)


def test_rows_become_transactions_and_labels_of_our_schemas(history: Transactions) -> None:
    events = list(history.events())
    assert [event.event_id for event in events] == list(history.event_ids())
    assert sum(event.positive for event in events) == np.count_nonzero(history.positive) > 50
    for row in (0, len(events) // 2, len(events) - 1):
        data = Transaction.model_validate_json(events[row].data)
        label = FraudLabel.model_validate_json(events[row].label)
        assert data.transaction_id == label.transaction_id == events[row].event_id
        assert data.card_id == events[row].key == f"c{history.cards[row]}"
        assert data.terminal_id == f"t{history.terminals[row]}"
        assert data.amount == history.amounts[row]
        assert label.fraud is events[row].positive
    first = orjson.loads(events[0].data)["event_time"]
    assert first.startswith("2018-04-01T")
    assert orjson.loads(events[0].label)["label_time"] == first.replace("04-01", "04-08")


def test_a_terminals_frauds_are_known_a_week_late_to_the_millisecond() -> None:
    start_ms, week_ms = 1_522_540_800_000, 7 * DAY_MS
    after_ms = np.array([0, 1, week_ms, week_ms + 1, week_ms + DAY_MS, week_ms + DAY_MS + 1])
    history = Transactions(
        numbers=np.arange(6),
        times_ms=start_ms + after_ms,
        cards=np.array([1, 2, 3, 4, 5, 6]),
        terminals=np.full(6, 9),
        amounts=np.full(6, 10.0),
        positive=np.array([True, False, True, False, False, False]),
    )
    features = features_when_due(history)
    named = {name: features[:, HISTORY_INPUTS.index(name)].tolist() for name in HISTORY_INPUTS}
    assert named["terminal_risk_delayed_count_1d"] == [0, 0, 1, 2, 1, 0]
    assert named["terminal_risk_share_fraud_1d"] == [0, 0, 1, 0.5, 0, 0]
    assert named["terminal_risk_delayed_count_7d"] == [0, 0, 1, 2, 2, 2]
    assert named["card_count_1d"] == [1] * 6


def test_features_equal_a_recomputation_from_all_that_was_known(history: Transactions) -> None:
    features = features_when_due(history)
    rows = np.random.default_rng(3).integers(len(history), size=200)
    for row in rows.tolist():
        now, found = int(history.times_ms[row]), features[row]
        own = (history.cards == history.cards[row])[: row + 1]
        terminal = history.terminals == history.terminals[row]
        for days in (1, 7, 30):
            recent = own & (history.times_ms[: row + 1] > now - days * DAY_MS)
            mean = found[HISTORY_INPUTS.index(f"card_mean_amount_{days}d")]
            assert found[HISTORY_INPUTS.index(f"card_count_{days}d")] == recent.sum()
            assert mean == pytest.approx(history.amounts[: row + 1][recent].mean())
            end = now - 7 * DAY_MS
            seen = (history.times_ms > end - days * DAY_MS) & (history.times_ms <= end) & terminal
            count = found[HISTORY_INPUTS.index(f"terminal_risk_delayed_count_{days}d")]
            share = found[HISTORY_INPUTS.index(f"terminal_risk_share_fraud_{days}d")]
            assert count == seen.sum()
            assert share == (history.positive[seen].mean() if count else 0.0)


def test_the_same_seed_trains_the_same_file_and_another_another(history: Transactions) -> None:
    first, again = FraudHistory().train(history, WEEKS, 3), FraudHistory().train(history, WEEKS, 3)
    assert again.card == first.card
    assert again.data == first.data
    other = FraudHistory().train(history, WEEKS, 4)
    assert other.card.sha256 != first.card.sha256
    assert first.card.inputs == HISTORY_INPUTS
    assert first.card.trained_on["seed"] == 3
    OnnxModel.load(first.data, first.card)


def test_a_mapping_that_has_trained_before_trains_the_same(history: Transactions) -> None:
    mapping = FraudHistory()
    for weeks, seed in ((WEEKS, 3), (WEEKS, 4), (Weeks(WEEKS.train_start + 1), 4)):
        again = mapping.train(history, weeks, seed)
        assert again.card == FraudHistory().train(history, weeks, seed).card


def test_training_sees_nothing_that_comes_after_it(history: Transactions) -> None:
    whole, cut = FraudHistory().train(history, WEEKS, 1), history.before(WEEKS.train_end)
    assert len(cut) < len(history)
    assert FraudHistory().train(cut, WEEKS, 1).card.sha256 == whole.card.sha256


def test_days_without_history_teach_nothing(history: Transactions) -> None:
    with pytest.raises(UsageError, match=r"days 90 to 96 hold 0 transactions and 0 frauds"):
        FraudHistory().train(history, Weeks(90), 0)


def test_what_cannot_be_measured_is_said(history: Transactions) -> None:
    scores = np.linspace(0.0, 1.0, len(history))
    with pytest.raises(UsageError, match="begin training on day 3 or before"):
        FraudHistory().measure(history, Weeks(10), scores)
    scores[-1] = np.nan
    with pytest.raises(UsageError, match=r"1 of [\d,]+ transactions of the test have no score"):
        FraudHistory().measure(history, Weeks(7, test_days=3), scores)


def test_every_difference_to_published_features_is_counted() -> None:
    oracle = Oracle(("a", "b"), np.array([0, 2, 5]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert feature_differences(oracle.values.copy(), oracle) == 0
    assert feature_differences(oracle.values + 1e-9, oracle) == 0
    ours = oracle.values.copy()
    ours[0, 1], ours[2] = np.nan, 0.0
    assert feature_differences(ours, oracle) == 2


def test_a_history_without_published_features_has_no_oracle(
    small_history: Path, history: Transactions
) -> None:
    assert read_oracle(FraudHistory(), small_history, history) is None


def edited(folder: Path, tmp_path: Path, column: str, values: pa.Array[Any] | None) -> Path:
    table = parquet.read_table(folder / TRANSACTION_FILE)
    place = table.column_names.index(column)
    table = table.remove_column(place)
    if values is not None:
        table = table.append_column(column, values)
    parquet.write_table(table, tmp_path / TRANSACTION_FILE)
    return tmp_path


def test_files_that_are_not_what_they_should_be_are_refused(
    small_history: Path, history: Transactions, tmp_path: Path
) -> None:
    mapping, rows = FraudHistory(), len(history)
    with pytest.raises(UsageError, match=r"holds no transactions\.parquet"):
        read_history(mapping, tmp_path)
    (tmp_path / TRANSACTION_FILE).write_bytes(b"not a table")
    with pytest.raises(UsageError, match="not a Parquet file"):
        read_history(mapping, tmp_path)
    with pytest.raises(UsageError, match="no column 'TX_FRAUD'; it has TRANSACTION_ID"):
        read_history(mapping, edited(small_history, tmp_path, "TX_FRAUD", None))
    floats = pa.array(np.zeros(rows))
    with pytest.raises(UsageError, match="TX_FRAUD holds float64, not whole numbers"):
        read_history(mapping, edited(small_history, tmp_path, "TX_FRAUD", floats))
    holes = pa.array([None] * rows, pa.int8())
    with pytest.raises(UsageError, match="column 'TX_FRAUD' has a row without a value"):
        read_history(mapping, edited(small_history, tmp_path, "TX_FRAUD", holes))
    negative = pa.array(np.full(rows, -1))
    with pytest.raises(UsageError, match="negative amount"):
        read_history(mapping, edited(small_history, tmp_path, "TX_AMOUNT_CENTS", negative))
