"""Models that are Python objects: the user's own, asked within a deadline.

`answer` may be a coroutine function or a plain one. A plain one runs on a thread of its own, so
that the lane goes on meanwhile; one that does not come back in time counts as failed and keeps its
thread. Once too many hang, further questions are refused at once until one comes back.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np

from batuta.agents.models.port import Matrix, Scores

__all__ = ["HUNG_MAX", "PythonModel", "PythonModelPart", "PythonModelPlan"]

#: How many threads may hang in one model.
HUNG_MAX: Final = 4


class PythonModelPart(Protocol):
    """What `use` names under `models`, for the adapter python."""

    def answer(self, inputs: Matrix) -> Scores | Awaitable[Scores]:
        """Return one score from 0 to 1 per row of `inputs`, (rows, features)."""
        ...


@dataclass(frozen=True, slots=True)
class PythonModelPlan:
    """What a pipeline says of the model.

    Attributes:
        name: as the pipeline names it.
        version: as decisions carry it.
        inputs: feature names, in order.
        timeout_ms: a later answer counts as none.
    """

    name: str
    version: str
    inputs: tuple[str, ...]
    timeout_ms: int


class PythonModel:
    """A Model around a part.

    Attributes:
        name, version, inputs: as the pipeline says.
    """

    def __init__(self, part: PythonModelPart, plan: PythonModelPlan) -> None:
        self.name = plan.name
        self.version = plan.version
        self.inputs = plan.inputs
        self._part = part
        self._timeout_ms = plan.timeout_ms
        self._coroutine = inspect.iscoroutinefunction(part.answer)
        self._hung = 0

    async def answer(self, inputs: Matrix) -> Scores:
        """Return the part's answer.

        Raises:
            TimeoutError: there was none in time, or too many questions hang already.
        """
        async with asyncio.timeout(self._timeout_ms / 1000):
            if self._coroutine:
                return _scores(await cast("Awaitable[Scores]", self._part.answer(inputs)))
            return _scores(await self._on_thread(inputs))

    async def _on_thread(self, inputs: Matrix) -> object:
        if self._hung >= HUNG_MAX:
            raise TimeoutError(f"{self.name} hangs: {self._hung} questions were never answered")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[object] = loop.create_future()

        def tell(value: object, failure: Exception | None) -> None:
            self._hung -= 1
            if answered.cancelled():
                return
            if failure is None:
                answered.set_result(value)
            else:
                answered.set_exception(failure)

        def run() -> None:
            value: object = None
            failure: Exception | None = None
            try:
                value = self._part.answer(inputs)
            except Exception as error:  # noqa: BLE001 - a model is anybody's code
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, value, failure)

        # Counted as hanging until it comes back; a daemon never keeps the process alive.
        self._hung += 1
        threading.Thread(target=run, name=f"model-{self.name}", daemon=True).start()
        return await answered


def _scores(answer: object) -> Scores:
    return np.asarray(answer, np.float64)
