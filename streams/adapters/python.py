"""Models that are Python objects: the user's own, asked within a deadline.

`answer` may be a coroutine function or a plain one; both run beside the event loop, so that the
lane goes on meanwhile. One that does not come back in time counts as failed.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from batuta.agents.models.port import Matrix, Scores
from batuta.streams.adapters.aside import Aside

__all__ = ["PythonModel", "PythonModelPart", "PythonModelPlan"]


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
        self._aside = Aside(plan.name, plan.timeout_ms / 1000)

    async def answer(self, inputs: Matrix) -> Scores:
        """Return the part's answer.

        Raises:
            TimeoutError: there was none in time, or too many questions hang already.
        """
        return np.asarray(await self._aside.call(self._part.answer, inputs), np.float64)
