"""A model of the user's own is asked within its deadline, whatever it does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from batuta.schemas.errors import ModelFailedError
from batuta.streams.adapters.aside import HUNG_MAX
from batuta.streams.adapters.python import PythonModel, PythonModelPlan

if TYPE_CHECKING:
    from batuta.agents.models.port import Matrix, Scores
    from batuta.streams.adapters.python import PythonModelPart

ROWS = np.zeros((3, 2), np.float32)


class Plain:
    def answer(self, inputs: Matrix) -> Scores:
        return np.full(len(inputs), 0.25)


class Waiting:
    async def answer(self, inputs: Matrix) -> Scores:
        await asyncio.sleep(0)
        return np.full(len(inputs), 0.5)


class Broken:
    def answer(self, inputs: Matrix) -> Scores:
        raise ZeroDivisionError(len(inputs))


class Hanging:
    """Comes back when it is let."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def answer(self, inputs: Matrix) -> Scores:
        self.released.wait(60)
        return np.zeros(len(inputs))


class HangingCoroutine:
    async def answer(self, inputs: Matrix) -> Scores:
        await asyncio.Event().wait()
        return np.zeros(len(inputs))


def model(part: PythonModelPart, timeout_ms: int = 60_000) -> PythonModel:
    return PythonModel(part, PythonModelPlan("scales", "scales@0", ("a", "b"), timeout_ms))


@pytest.mark.parametrize(("part", "score"), [(Plain(), 0.25), (Waiting(), 0.5)])
async def test_plain_and_waiting_models_answer(part: PythonModelPart, score: float) -> None:
    assert (await model(part).answer(ROWS)).tolist() == [score] * 3


async def test_what_a_model_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await model(Broken()).answer(ROWS)


@pytest.mark.parametrize("said", [["much", "less", "none"], [{}, {}, {}], [[1.0], [1.0, 2.0], []]])
async def test_what_is_no_array_of_numbers_is_no_answer(said: Any) -> None:
    class Wordy:
        def answer(self, inputs: Matrix) -> Scores:
            del inputs
            return said  # type: ignore[no-any-return]

    with pytest.raises(ModelFailedError, match="scales answers list") as refused:
        await model(Wordy()).answer(ROWS)
    assert refused.value.kind == "invalid"


async def test_a_waiting_model_is_left_at_its_deadline() -> None:
    with pytest.raises(TimeoutError):
        await model(HangingCoroutine(), timeout_ms=1).answer(ROWS)


async def test_a_hanging_model_is_left_then_refused_then_asked_again() -> None:
    part = Hanging()
    hanging = model(part, timeout_ms=200)
    for _ in range(HUNG_MAX):
        with pytest.raises(TimeoutError):
            await hanging.answer(ROWS)
    with pytest.raises(TimeoutError, match="hangs: 4 calls have not come back"):
        await hanging.answer(ROWS)
    part.released.set()
    patient = asyncio.get_running_loop().time() + 30
    while True:
        try:
            assert (await hanging.answer(ROWS)).tolist() == [0.0] * 3
        except TimeoutError:
            assert asyncio.get_running_loop().time() < patient, "it never recovered"
            await asyncio.sleep(0)
        else:
            return


class BlockingCoroutine(Hanging):
    """Blocks the loop it runs on, as no coroutine should."""

    async def answer(self, inputs: Matrix) -> Scores:  # type: ignore[override]
        self.released.wait(60)
        return np.zeros(len(inputs))


async def test_a_coroutine_that_blocks_does_not_block_the_worker() -> None:
    part = BlockingCoroutine()
    with pytest.raises(TimeoutError):
        await model(part, timeout_ms=50).answer(ROWS)
    part.released.set()


async def test_many_questions_at_once_are_no_hanging() -> None:
    gate = Hanging()
    many = [asyncio.ensure_future(model_of.answer(ROWS)) for model_of in [model(gate)] * 12]
    await asyncio.sleep(0)
    gate.released.set()
    answers = await asyncio.gather(*many)
    assert [answer.tolist() for answer in answers] == [[0.0] * 3] * 12
