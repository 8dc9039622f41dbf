"""The port every model answers through: a batch of inputs in, as many answers out.

Adapters make one attempt: retries, breakers, hedging and bulkheads are the conductor's.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Answers, Scores

__all__ = ["CRITIQUE", "AnyModel", "Matrix", "Model", "RowModel", "Scores", "reads_rows"]

Matrix = npt.NDArray[np.float32]
#: A model that reads this path is told what was wrong with an answer that it is to correct: a text,
#: empty where it is asked for the first time.
CRITIQUE: Final = "critique"


class Model(Protocol):
    """A model that scores events by their numbers.

    Attributes:
        name: as the pipeline names it.
        version: `name@` and the first 12 hex digits of the file's sha256; stands in every record.
        inputs: feature names, in the order of the matrix's columns.
    """

    name: str
    version: str
    inputs: tuple[str, ...]

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        """Return one score from 0 to 1 per row of `inputs` (rows, len(self.inputs)).

        Raises:
            ModelFailedError: there is no answer to any row: the plan goes on by its rule.
            LaterError: the whole batch is to be tried again.
        """
        ...


class RowModel(Protocol):
    """A model that reads more of an event than numbers: texts, and what earlier steps answered.

    Attributes:
        reads: what stands in each row, by paths such as `event.text`, `retrieve.value`, `critique`.
    """

    name: str
    version: str
    reads: tuple[str, ...]

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row.

        Raises:
            ModelFailedError: there is no answer to any row: the plan goes on by its rule.
        """
        ...


#: A model of either kind.
AnyModel = Model | RowModel


def reads_rows(model: AnyModel) -> TypeGuard[RowModel]:
    """Tell whether a model reads rows; else it sees a matrix."""
    return hasattr(model, "reads")
