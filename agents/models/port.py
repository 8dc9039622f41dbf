"""The port every model answers through: a batch of inputs in, as many answers out."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Matrix", "Model", "Scores"]

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


class Model(Protocol):
    """A model that scores events.

    Attributes:
        name: as the pipeline names it.
        version: `name@` and the first 12 hex digits of the file's sha256; stands in every record.
        inputs: feature names, in the order of the matrix's columns.
    """

    name: str
    version: str
    inputs: tuple[str, ...]

    async def answer(self, inputs: Matrix) -> Scores:
        """Return one score from 0 to 1 per row of `inputs` (rows, len(self.inputs))."""
        ...
