"""Intake: the language of a message, and whether it is one at all."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from batuta.agents.models.answers import Answers

__all__ = ["Intake"]

_WORDS: Final = re.compile(r"[^\W\d_]+")
#: Words that nearly every sentence of a language has, and no other language.
_COMMON: Final[Mapping[str, frozenset[str]]] = {
    "en": frozenset({"the", "is", "and", "our", "we", "my", "it", "you", "to", "please"}),
    "es": frozenset({"el", "la", "es", "y", "nuestra", "no", "por", "favor", "mi", "una"}),
    "de": frozenset({"der", "die", "das", "ist", "und", "nicht", "wir", "bitte", "mein", "ein"}),
}
_WORDS_MIN: Final = 3


class Intake:
    """Answers how surely a text is a message in a language it knows.

    A RowModel's part; its value is {"language": "en", "words": 9}.
    """

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row of {"event.text": ...}."""
        values = [_told(str(row["event.text"])) for row in rows]
        scores = np.array([_score(value) for value in values])
        return Answers(scores, values=values)


def _told(text: str) -> dict[str, object]:
    words = [word.lower() for word in _WORDS.findall(text)]
    known = {name: sum(word in common for word in words) for name, common in _COMMON.items()}
    language = max(known, key=lambda name: known[name])
    return {"language": language if known[language] else "", "words": len(words)}


def _score(value: Mapping[str, object]) -> float:
    words = value["words"]
    assert isinstance(words, int), "as told"
    if words < _WORDS_MIN:
        return 0.1
    return 0.95 if value["language"] else 0.4
