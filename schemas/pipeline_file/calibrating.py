"""What a model's confidence has come to mean, as an entry under `models` says it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from batuta.schemas.pipeline_file.person import PERSON

__all__ = ["Points", "calibration_fault"]

#: What is said, and how often it was right.
Points = Annotated[
    tuple[
        Annotated[
            tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...], Field(min_length=2, max_length=2)
        ],
        ...,
    ],
    Field(max_length=64),
]


def calibration_fault(adapter: str, points: Sequence[Sequence[float]]) -> str | None:
    """Return what is wrong with the points of a line, and what to do; None if nothing.

    >>> calibration_fault("onnx", [(0.5, 0.4), (0.9, 0.8)])
    """
    if points and adapter == PERSON:
        return '"calibration" is of models; leave it out, or change the kind'
    for before, after in pairwise(points):
        if after[0] <= before[0] or after[1] < before[1]:
            pair, other = (f"[{one[0]:g}, {one[1]:g}]" for one in (before, after))
            what = f'its "calibration" does not rise from {pair} to {other}'
            return f"{what}; write what is said rising, and how often it was right not falling"
    return None
