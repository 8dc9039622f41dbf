"""A model with a meter: requests, results and durations, counted once per batch."""

import time
from typing import Literal

from batuta.agents.models.port import Matrix, Model, Scores
from batuta.streams.telemetry import StageTelemetry

__all__ = ["MeteredModel"]


class MeteredModel:
    """Any model behind the port, measured."""

    def __init__(self, model: Model, telemetry: StageTelemetry) -> None:
        self._model = model
        self._telemetry = telemetry
        self.name = model.name
        self.version = model.version
        self.inputs = model.inputs
        telemetry.model_loaded(model.name, model.version)

    async def answer(self, inputs: Matrix) -> Scores:
        """Pass the batch on and record how long the answer took and how it ended."""
        started = time.perf_counter()
        try:
            scores = await self._model.answer(inputs)
        except Exception:
            self._observe("failed", len(inputs), started)
            raise
        self._observe("answered", len(inputs), started)
        return scores

    def _observe(self, result: Literal["answered", "failed"], rows: int, started: float) -> None:
        seconds = time.perf_counter() - started
        self._telemetry.model(self.name, self.version, result, rows, seconds)
