"""A model with a meter: requests, results and durations, counted once per batch."""

import time
from dataclasses import dataclass
from typing import Literal

from batuta.agents.models.answers import NANO, Answers
from batuta.agents.models.port import Matrix, Model, Scores
from batuta.streams.telemetry.facts import Scribe
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["MeteredModel", "ModelBroke"]


@dataclass(frozen=True, slots=True)
class ModelBroke:
    """A model raised: its events follow the pipeline's fallback, and nobody else says why."""

    version: str
    error: Exception

    def tell(self, scribe: Scribe) -> None:
        """Say it sparingly: a broken model breaks at every batch."""
        since = scribe.sparing.allow((ModelBroke, self.version, type(self.error)))
        if since is not None:
            scribe.log.warning(
                "model_broke", version=self.version, error=repr(self.error), count=since
            )


class MeteredModel:
    """Any model behind the port, measured."""

    def __init__(self, model: Model, telemetry: StageTelemetry) -> None:
        self._model = model
        self._telemetry = telemetry
        self.name = model.name
        self.version = model.version
        self.inputs = model.inputs
        telemetry.model_loaded(model.name, model.version)

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        """Pass the batch on and record how long the answer took and how it ended."""
        started = time.perf_counter()
        try:
            scores = await self._model.answer(inputs)
        except Exception as error:
            self._observe("failed", len(inputs), started)
            self._telemetry.tell(ModelBroke(self.version, error))
            raise
        self._observe("answered", len(inputs) - _failures(scores), started)
        if isinstance(scores, Answers):
            self._account(scores)
        return scores

    def _account(self, answers: Answers) -> None:
        """Count the rows without answer, and what all of them cost."""
        if answers.failures:
            failed = len(answers.failures)
            self._telemetry.model(self.name, self.version, "failed", failed, None)
        if answers.currency:
            amount = answers.cost_nano / NANO
            self._telemetry.model_paid(self.name, answers.currency, amount)

    def _observe(self, result: Literal["answered", "failed"], rows: int, started: float) -> None:
        seconds = time.perf_counter() - started
        self._telemetry.model(self.name, self.version, result, rows, seconds)


def _failures(answer: Scores | Answers) -> int:
    return len(answer.failures) if isinstance(answer, Answers) else 0
