"""A metered model answers as the model does, and shows what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from batuta.agents.models.answers import Answers, answers_of
from batuta.streams.metered_model import MeteredModel
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from batuta.agents.models.port import Matrix, Scores


class Half:
    """Answers one half, or breaks."""

    name, version, inputs = "half", "half@1", ("amount",)
    broken = False

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        if self.broken:
            raise ArithmeticError("no half today")
        return np.full(len(inputs), 0.5)


def requests(registry: CollectorRegistry, result: str) -> float | None:
    labels = {"pipeline": "fraud", "model": "half", "version": "half@1", "result": result}
    return registry.get_sample_value("batuta_model_requests_total", labels)


async def test_answers_pass_and_are_counted() -> None:
    registry = CollectorRegistry()
    model = MeteredModel(Half(), StageTelemetry("fraud", "scoring", registry))
    answer = await model.answer(np.zeros((3, 1), np.float32))
    assert answers_of(answer).scores.tolist() == [0.5, 0.5, 0.5]
    assert (requests(registry, "answered"), requests(registry, "failed")) == (3, 0)


class Dear(Half):
    """Answers one row of two, and charges for both."""

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        scores = np.array([0.5, np.nan])[: len(inputs)]
        return Answers(scores, failures={1: "invalid"}, cost_nano=1_600_000, currency="EUR")


async def test_rows_without_answer_are_counted_and_paid() -> None:
    registry = CollectorRegistry()
    await MeteredModel(Dear(), StageTelemetry("fraud", "scoring", registry)).answer(
        np.zeros((2, 1), np.float32)
    )
    assert (requests(registry, "answered"), requests(registry, "failed")) == (1, 1)
    paid = {"pipeline": "fraud", "model": "half", "currency": "EUR"}
    assert registry.get_sample_value("batuta_model_cost_total", paid) == pytest.approx(0.0016)


async def test_a_broken_model_is_counted_and_said_once() -> None:
    registry, half = CollectorRegistry(), Half()
    half.broken = True
    with capture_logs() as said:
        model = MeteredModel(half, StageTelemetry("fraud", "scoring", registry))
        for _ in range(2):
            with pytest.raises(ArithmeticError):
                await model.answer(np.zeros((1, 1), np.float32))
    assert requests(registry, "failed") == 2
    broke = [entry for entry in said if entry["event"] == "model_broke"]
    assert [entry["error"] for entry in broke] == ["ArithmeticError('no half today')"]
