"""A served model's replies are validated like any input: a wrong one answers no row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from batuta.agents.models.prices import Price
from batuta.schemas.errors import ModelFailedError
from batuta.streams.adapters.http_calls import Endpoint
from batuta.streams.adapters.micro_batches import BatchLimits
from batuta.streams.adapters.open_inference import OpenInferenceModel, OpenInferencePlan
from batuta.streams.model_server.behaviours import honest_score
from batuta.streams.model_server.server import ModelServer

if TYPE_CHECKING:
    from batuta.streams.model_server.process import ModelServerProcess

ROWS = np.array([[1.0, -0.5], [0.25, 0.25], [-2.0, 1.0]], np.float32)
RIGHT = [honest_score(row) for row in ROWS.tolist()]
PRICE = Price("EUR", answer_nano=800_000)


def model(url: str, timeout_ms: int = 60_000, **said: Any) -> OpenInferenceModel:
    endpoint = Endpoint(url, timeout_ms=timeout_ms, reply_bytes_max=1_048_576)
    plan = OpenInferencePlan("risk", ("a", "b"), "risk", price=PRICE, **said)
    return OpenInferenceModel(endpoint, plan)


async def test_rows_are_answered_in_order_and_priced(model_server: ModelServerProcess) -> None:
    async with model(model_server.url("honest"), served_version="3") as asked:
        answers = await asked.answer(ROWS)
        assert (await asked.answer(ROWS[:0])).scores.shape == (0,)
    assert asked.version == "risk@3"
    assert answers.scores.tolist() == pytest.approx(RIGHT)
    assert (answers.failures, answers.usage.requests) == ({}, 1)
    assert (answers.cost_nano, answers.currency) == (2_400_000, "EUR")


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("hangs", "timeout", "no answer within 300 ms"),
        ("drips", "timeout", "no answer within 300 ms"),
        ("fails_after_work", "unavailable", "answered 500"),
        ("redirects", "refused", "answered 307"),
        ("limits", "overloaded", "answered 429"),
        ("truncates", "invalid", "the reply is no JSON"),
        ("misfits", "invalid", "the output is BYTES, not FP32 or FP64"),
        ("floods", "invalid", "the reply is longer than 1048576 bytes"),
        ("mistypes", "invalid", "the reply is text/html, not application/json"),
        ("loses_rows", "invalid", "3 rows are answered with the shape [2]"),
    ],
)
async def test_a_fault_is_a_failure_with_its_reason(
    model_server: ModelServerProcess, fault: str, kind: str, said: str
) -> None:
    timeout_ms = 300 if kind == "timeout" else 60_000
    async with model(model_server.url(fault), timeout_ms) as asked:
        with pytest.raises(ModelFailedError) as failed:
            await asked.answer(ROWS)
    assert (failed.value.kind, said in failed.value.detail) == (kind, True), failed.value


async def test_a_row_that_is_no_number_has_no_answer(model_server: ModelServerProcess) -> None:
    async with model(model_server.url("not_a_number")) as asked:
        answers = await asked.answer(ROWS)
    assert answers.failures == {0: "invalid"}
    assert answers.scores[1:].tolist() == pytest.approx(RIGHT[1:])
    assert np.isnan(answers.scores[0])


async def test_nobody_listening_is_a_failure_that_hides_the_address() -> None:
    async with model("http://127.0.0.1:9/secret-path") as asked:
        with pytest.raises(ModelFailedError, match="unavailable") as failed:
            await asked.answer(ROWS)
    assert "secret-path" not in str(failed.value)


async def test_a_server_that_asks_for_patience_is_left_alone() -> None:
    async with ModelServer() as server, model(server.url("limits")) as asked:
        for _ in range(3):
            with pytest.raises(ModelFailedError) as failed:
                await asked.answer(ROWS)
            assert failed.value.kind == "overloaded"
            assert failed.value.retry_after_ms is not None
        assert server.behaviours.calls["limits"] == 1


async def test_a_redirect_is_not_followed() -> None:
    async with ModelServer() as server, model(server.url("redirects")) as asked:
        with pytest.raises(ModelFailedError):
            await asked.answer(ROWS)
        assert server.behaviours.calls == {"redirects": 1}


async def test_rows_of_several_callers_travel_together_and_come_back_in_order() -> None:
    limits = BatchLimits(rows_max=8, window_ms=200)
    rows = np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2)
    async with (
        ModelServer() as server,
        model(server.url("honest"), limits=limits) as asked,
    ):
        cuts = [(0, 1), (1, 2), (2, 13), (13, 20)]
        found = await asyncio.gather(*(asked.answer(rows[a:b]) for a, b in cuts))
        assert server.behaviours.calls["honest"] <= 5
    scores = np.concatenate([one.scores for one in found])
    assert scores.tolist() == pytest.approx([honest_score(row) for row in rows.tolist()])
    assert sum(one.cost_nano for one in found) == 20 * PRICE.answer_nano
    assert sum(one.usage.requests for one in found) == 4


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    limits = BatchLimits(rows_max=64, window_ms=100)
    async with (
        ModelServer() as server,
        model(server.url("honest"), limits=limits) as asked,
    ):
        impatient = asyncio.ensure_future(asked.answer(ROWS[:1]))
        patient = asyncio.ensure_future(asked.answer(ROWS[1:]))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).scores.tolist() == pytest.approx(RIGHT[1:])
        with pytest.raises(asyncio.CancelledError):
            await impatient
