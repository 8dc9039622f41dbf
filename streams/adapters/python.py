"""Models that are Python objects: the user's own, asked within a deadline.

`answer` may be a coroutine function or a plain one; both run beside the event loop, so that the
lane goes on meanwhile. One that does not come back in time counts as failed.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson

from batuta.agents.models.answers import Answers
from batuta.agents.models.port import Matrix, Scores
from batuta.schemas.errors import ModelFailedError
from batuta.streams.adapters.aside import Aside

__all__ = [
    "PythonModel",
    "PythonModelPart",
    "PythonModelPlan",
    "PythonRowModel",
    "PythonRowModelPart",
]


class PythonModelPart(Protocol):
    """What `use` names under `models`, for the adapter python."""

    def answer(self, inputs: Matrix) -> Scores | Awaitable[Scores]:
        """Return one score from 0 to 1 per row of `inputs`, (rows, features)."""
        ...


class PythonRowModelPart(Protocol):
    """What `use` names where the model `reads`: texts, and what models before it have answered."""

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers | Awaitable[Answers]:
        """Return one answer per row; what stands in a row is named by `reads`."""
        ...


@dataclass(frozen=True, slots=True)
class PythonModelPlan:
    """What a pipeline says of the model.

    Attributes:
        name: as the pipeline names it.
        version: as decisions carry it.
        inputs: feature names, in order; or the paths that it reads.
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
            ModelFailedError: it is no array of numbers.
            TimeoutError: there was none in time, or too many questions hang already.
        """
        answer = await self._aside.call(self._part.answer, inputs)
        try:
            return np.asarray(answer, np.float64)
        except (TypeError, ValueError) as error:
            what = f"{self.name} answers {type(answer).__name__}: {error}"
            raise ModelFailedError("invalid", what) from error


class PythonRowModel:
    """A RowModel around a part.

    Attributes:
        name, version, reads: as the pipeline says.
    """

    def __init__(self, part: PythonRowModelPart, plan: PythonModelPlan) -> None:
        self.name = plan.name
        self.version = plan.version
        self.reads = plan.inputs
        self._part = part
        self._aside = Aside(plan.name, plan.timeout_ms / 1000)

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return the part's answer.

        Raises:
            ModelFailedError: it answers no `Answers`, or values that are no JSON.
            TimeoutError: there was none in time, or too many questions hang already.
        """
        answers = await self._aside.call(self._part.answer_rows, rows)
        if not isinstance(answers, Answers):
            raise ModelFailedError("invalid", f"{self.name} answers {type(answers).__name__}")
        try:
            # A step that waits is kept with what it was told.
            orjson.dumps([*answers.values, *answers.evidence])
        except TypeError as error:
            raise ModelFailedError("invalid", f"{self.name}: {error}") from error
        return answers
