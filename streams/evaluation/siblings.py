"""The same training under other seeds: one model is chance, so figures are means over several.

Features do not hang on which model sees them. So one of the models decides in the topics, and the
others are given what the decisions say that it saw: the very bits that they would have been given.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.evaluation.ranking import Integers, Numbers
from batuta.agents.models.card import TrainedModel
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.onnx import OnnxModel

__all__ = ["scores_of"]

_BATCH: Final = 2_000


def scores_of(trained: TrainedModel, seen: Mapping[str, Numbers], rows: Integers) -> Numbers:
    """Return what a model says of some events.

    Args:
        trained: the model.
        seen: features that decisions name, one value per event.
        rows: which events are asked about.

    Returns:
        One score per event, NaN for those not asked about and those without a decision.

    Raises:
        UsageError: decisions do not name a feature that the model wants.
    """
    model = OnnxModel.of(trained)
    missing = [name for name in model.inputs if name not in seen]
    if missing:
        raise UsageError(f"decisions name no feature {missing[0]!r}, which {model.version} sees")
    inputs = np.column_stack([seen[name][rows] for name in model.inputs])
    known = ~np.isnan(inputs).any(axis=1)
    scores = np.full(len(next(iter(seen.values()))), np.nan)
    scores[rows[known]] = asyncio.run(_answers(model, inputs[known].astype(np.float32)))
    return scores


async def _answers(model: OnnxModel, inputs: npt.NDArray[np.float32]) -> Numbers:
    parts = [
        await model.answer(inputs[begin : begin + _BATCH])
        for begin in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
