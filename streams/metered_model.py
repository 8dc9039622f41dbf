"""A model with a meter: requests, results and durations, counted once per batch."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from batuta.agents.models.answers import NANO, Answers
from batuta.agents.models.port import AnyModel, Matrix, Model, RowModel, Scores, reads_rows
from batuta.streams.telemetry.facts import Scribe
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["MeteredModel", "MeteredRowModel", "ModelBroke", "metered"]


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


class _Meter:
    def __init__(self, model: AnyModel, telemetry: StageTelemetry) -> None:
        self._telemetry = telemetry
        self.name = model.name
        self.version = model.version
        telemetry.model_loaded(model.name, model.version)

    def _broke(self, error: Exception, rows: int, started: float) -> None:
        self._observe("failed", rows, started)
        self._telemetry.tell(ModelBroke(self.version, error))

    def _observe(self, result: Literal["answered", "failed"], rows: int, started: float) -> None:
        seconds = time.perf_counter() - started
        self._telemetry.model(self.name, self.version, result, rows, seconds)

    def _account(self, answers: Answers) -> None:
        """Count the rows without answer, and what all of them cost."""
        if answers.failures:
            failed = len(answers.failures)
            self._telemetry.model(self.name, self.version, "failed", failed, None)
        if answers.currency:
            amount = answers.cost_nano / NANO
            self._telemetry.model_paid(self.name, answers.currency, amount)


class MeteredModel(_Meter):
    """Any model that sees a matrix, measured."""

    def __init__(self, model: Model, telemetry: StageTelemetry) -> None:
        super().__init__(model, telemetry)
        self._model = model
        self.inputs = model.inputs

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        """Pass the batch on and record how long the answer took and how it ended."""
        started = time.perf_counter()
        try:
            scores = await self._model.answer(inputs)
        except Exception as error:
            self._broke(error, len(inputs), started)
            raise
        self._observe("answered", len(inputs) - _failures(scores), started)
        if isinstance(scores, Answers):
            self._account(scores)
        return scores


def _failures(answer: Scores | Answers) -> int:
    return len(answer.failures) if isinstance(answer, Answers) else 0


class MeteredRowModel(_Meter):
    """Any model that reads rows, measured."""

    def __init__(self, model: RowModel, telemetry: StageTelemetry) -> None:
        super().__init__(model, telemetry)
        self._model = model
        self.reads = model.reads

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Pass the batch on and record how long the answer took and how it ended."""
        started = time.perf_counter()
        try:
            answers = await self._model.answer_rows(rows)
        except Exception as error:
            self._broke(error, len(rows), started)
            raise
        self._observe("answered", len(rows) - _failures(answers), started)
        self._account(answers)
        return answers


def metered(
    models: AnyModel | Mapping[str, AnyModel], telemetry: StageTelemetry
) -> AnyModel | Mapping[str, AnyModel]:
    """Return models with a meter each."""
    if isinstance(models, Mapping):
        return {name: _metered(model, telemetry) for name, model in models.items()}
    return _metered(models, telemetry)


def _metered(model: AnyModel, telemetry: StageTelemetry) -> AnyModel:
    if reads_rows(model):
        return MeteredRowModel(model, telemetry)
    return MeteredModel(cast("Model", model), telemetry)
