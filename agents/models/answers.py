"""Answers: what a model said about a batch, how sure it was, and what it took.

A model that has nothing to say beyond its scores answers with those alone; `answers_of` makes the
same of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.schemas.errors import FailureKind

__all__ = ["NANO", "Answers", "Scores", "Usage", "answers_of"]

Scores = npt.NDArray[np.float64]

#: Costs are whole billionths of a currency's unit, so that sums are exact.
NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call took, in the units of whoever bills it."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said about the rows of a batch.

    Attributes:
        scores: (rows,) from 0 to 1; NaN where a row has no answer.
        confidence: (rows,) from 0 to 1, how sure the model is; None for one that does not say.
        values: per row what later steps may read, any JSON; empty where the score says it all.
        evidence: per row what the answer rests on, in words; empty where the model names nothing.
        failures: the rows without answer, and why.
        usage: of the whole batch.
        cost_nano: of the whole batch, billionths of `currency`.
        currency: ISO 4217; empty where nothing is billed.
    """

    scores: Scores
    confidence: Scores | None = None
    values: Sequence[object] = ()
    evidence: Sequence[str] = ()
    failures: Mapping[int, FailureKind] = field(default_factory=dict[int, FailureKind])
    usage: Usage = Usage()
    cost_nano: int = 0
    currency: str = ""


def answers_of(answer: "Scores | Answers") -> Answers:
    """Return an answer in its wide form.

    >>> answers_of(np.array([0.5])).cost_nano
    0
    """
    return answer if isinstance(answer, Answers) else Answers(answer)
