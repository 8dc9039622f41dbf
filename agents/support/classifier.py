"""Classifier: how urgent a message is, by its words."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers

__all__ = ["Classifier", "text_of"]

_WORDS: Final = re.compile(r"[^\W\d_]+")
_WEIGHTS: Final[Mapping[str, float]] = {
    "down": 2.5,
    "outage": 3.0,
    "urgent": 2.0,
    "lost": 1.5,
    "stopped": 1.5,
    "caído": 3.0,
    "urgente": 2.0,
    "ausfall": 3.0,
    "dringend": 2.0,
    "thank": -2.0,
    "thanks": -2.0,
    "gracias": -2.0,
    "danke": -2.0,
    "invoice": -1.5,
    "question": -1.5,
}
_BIAS: Final = -1.5


class Classifier:
    """Answers the logistic function of the weights of a text's words.

    A RowModel's part; it is as sure as its score is far from one half.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of {"cleaner.value": {"text": ...}}."""
        sums = np.array([_sum(text_of(row)) for row in rows], np.float64)
        scores = 1.0 / (1.0 + np.exp(-sums))
        return Answers(scores, confidence=np.maximum(scores, 1.0 - scores))


def text_of(row: Mapping[str, object]) -> str:
    """Return the text that the cleaner has left; empty where it gave none."""
    value = row["cleaner.value"]
    return str(value.get("text", "")) if isinstance(value, Mapping) else ""


def _sum(text: str) -> float:
    return _BIAS + sum(_WEIGHTS.get(word.lower(), 0.0) for word in _WORDS.findall(text))
