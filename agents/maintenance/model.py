"""Surprise as a score: a model that needs no file."""

from typing import Final

import numpy as np

from batuta.agents.models.port import Matrix, Scores

__all__ = ["SURPRISE_INPUT", "SurpriseModel", "score_of_surprise", "surprise_of_score"]

#: The one feature this model sees.
SURPRISE_INPUT: Final = "surprise"
#: The surprise whose score is a half: about the best threshold of the anomaly benchmark.
_HALF: Final = 3.5


class SurpriseModel:
    """Answers with surprise / (surprise + 3.5): 0 is not at all, one half is worth a look.

    The order of surprises is kept to the last digit, so nothing is rounded to certainty. Its one
    input is the surprise of a reading.
    """

    async def answer(self, inputs: Matrix) -> Scores:
        """Return one score from 0 to 1 per row of `inputs` (rows, 1)."""
        return score_of_surprise(inputs[:, 0].astype(np.float64))


def score_of_surprise(surprise: Scores) -> Scores:
    """Return the score of each surprise, 0 or more."""
    return surprise / (surprise + _HALF)


def surprise_of_score(score: Scores) -> Scores:
    """Return the surprise of each score below 1: `score_of_surprise` undone."""
    return _HALF * score / (1.0 - score)
