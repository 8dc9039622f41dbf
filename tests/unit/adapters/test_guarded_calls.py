"""A guarded model over a real wire: a server that hangs, breaks, drips or asks for patience."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.retrying import RetryRule
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import Call
from batuta.schemas.errors import ModelFailedError
from batuta.streams.adapters.http_calls import Endpoint
from batuta.streams.adapters.micro_batches import BatchLimits, MicroBatches
from batuta.streams.adapters.open_inference import OpenInferenceModel, OpenInferencePlan
from batuta.streams.guard import Asked, Guard
from batuta.streams.model_server.server import ModelServer

if TYPE_CHECKING:
    from batuta.agents.models.answers import Answers
    from batuta.agents.models.port import Matrix

ROWS = np.array([[1.0, -0.5]], np.float32)
BREAKER = BreakerRule(failures_share=0.5, window_ms=60_000, calls_min=3, open_ms=60_000)


async def said(fault: str, terms: Terms, times: int, patience_ms: int | None = None) -> list[str]:
    """Return what calls came to, and last how many the server saw."""
    async with ModelServer() as server:
        endpoint = Endpoint(server.url(fault), timeout_ms=300)
        plan = OpenInferencePlan("risk", ("a", "b"), "risk", limits=BatchLimits(256, 0))
        async with OpenInferenceModel(endpoint, plan) as model:
            guard, came = Guard("risk", terms), list[str]()
            for number in range(times):
                call = Call("risk", np.arange(1), ROWS, f"risk/e{number}", patience_ms)
                try:
                    await guard.put(Asked(model, call))
                    came.append("answered")
                except ModelFailedError as failure:
                    came.append(failure.kind)
        return [*came, str(server.behaviours.calls[fault])]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("hangs", "timeout"), ("drips", "timeout"), ("fails_after_work", "unavailable")],
)
async def test_a_server_that_fails_is_left_alone(fault: str, kind: str) -> None:
    came = await said(fault, Terms(breaker=BREAKER), times=5)
    assert came == [kind] * 3 + ["breaker_open"] * 2 + ["3"]


async def test_a_call_that_broke_is_made_again_and_no_more_than_said() -> None:
    terms = Terms(retry=RetryRule(times=2, wait_ms=5))
    assert await said("fails_after_work", terms, times=2) == ["unavailable"] * 2 + ["6"]


async def test_a_server_that_asks_for_patience_is_not_asked_before() -> None:
    terms = Terms(retry=RetryRule(times=2, wait_ms=5))
    assert await said("limits", terms, times=3, patience_ms=1_000) == ["overloaded"] * 3 + ["1"]


async def test_a_request_that_nobody_waits_for_is_broken_off() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hang(rows: Matrix) -> Answers:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set_result(f"{len(rows)} rows")
            raise
        raise AssertionError

    batches = MicroBatches(hang, BatchLimits(2, 60_000))
    first, second = (asyncio.ensure_future(batches.answer(ROWS)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert not ended.done(), "the other one waits still"
    second.cancel()
    assert await ended == "2 rows"
    await batches.close()
