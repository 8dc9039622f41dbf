"""A small history in the fraud handbook's form: the generator's world, written as its files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from batuta.agents.fraud.generator import CardPlan, CardWorld

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 24


@pytest.fixture(scope="session")
def small_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `transactions.parquet` of some weeks."""
    folder = tmp_path_factory.mktemp("history")
    world = CardWorld(CardPlan(11, cards=300, terminals=100)).history(DAYS)
    seconds = world.times_ms // 1_000
    columns = {
        "TRANSACTION_ID": np.arange(len(world), dtype=np.int32),
        "TX_TIME_SECONDS": np.sort(seconds).astype(np.int32),
        "CUSTOMER_ID": world.cards.astype(np.int32),
        "TERMINAL_ID": world.terminals.astype(np.int32),
        "TX_AMOUNT_CENTS": np.rint(world.amounts * 100).astype(np.int32),
        "TX_FRAUD": (world.fraud > 0).astype(np.int8),
        "TX_FRAUD_SCENARIO": world.fraud.astype(np.int8),
    }
    parquet.write_table(pa.table(columns), folder / "transactions.parquet")
    return folder
