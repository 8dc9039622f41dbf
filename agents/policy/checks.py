"""The port for checks of answers: which scores may be used, beyond being numbers from 0 to 1."""

from typing import Protocol

from batuta.agents.models.port import Scores
from batuta.agents.policy.names import Flags
from batuta.agents.understanding.features import Features

__all__ = ["Check"]


class Check(Protocol):
    """Judges a model's answers; what does not pass is decided by a person."""

    def passes(self, scores: Scores, features: Features) -> Flags:
        """Say of each answer whether it may be used.

        Args:
            scores: (events,), each from 0 to 1.
            features: what the model saw, (events, inputs).

        Returns:
            (events,) truth values.
        """
        ...
