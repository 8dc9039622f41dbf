"""A pipeline whose model follows the registry, and files that could be it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from batuta.agents.models.fitted import Fitted

if TYPE_CHECKING:
    from pathlib import Path

PIPELINE = """\
pipeline: crates
version: 1
source: {schema: "crate_parts:Crate", id: crate, key: sender, time: at}
models:
  scales: {adapter: onnx, version: production, inputs: [weight, size], cost: 0.00001 EUR, risk: low}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve}
escalate: {queue: dispatch}
"""
PARTS = """\
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Crate(BaseModel):
    crate: str
    sender: str
    at: EventTime
    weight: float
    size: float
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline whose model follows the registry, and two files that could be it."""
    (tmp_path / "crates.yaml").write_text(PIPELINE)
    (tmp_path / "crate_parts.py").write_text(PARTS)
    for seed in (1, 2):
        rows = np.random.default_rng(seed).normal(size=(60, 2)).astype(np.float32)
        fitted = LogisticRegression().fit(rows, rows[:, 0] > 0)
        (tmp_path / f"{seed}.onnx").write_bytes(Fitted(fitted, 2).to_onnx())
    return tmp_path
