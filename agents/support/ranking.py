"""BM25 over a handful of texts, in memory, the same for the same texts.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), with the
inverse document frequency that stays above 0.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from batuta.agents.verification.sentences import words_of

__all__ = ["TextIndex"]

_SATURATION: Final = 1.5
_LENGTH_SHARE: Final = 0.75


class TextIndex:
    """Finds the texts that a query's words speak for.

    >>> TextIndex(["Cards that are lost", "Refunds of payments"]).best("I lost my cards", 1)
    [(0, 0.4)]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Take the texts, which keep their places."""
        counts = [Counter(words_of(text)) for text in texts]
        lengths = [sum(each.values()) for each in counts]
        mean = sum(lengths) / len(lengths) if lengths else 1.0
        held = Counter(word for each in counts for word in each)
        self._idf = {
            word: math.log(1.0 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in held.items()
        }
        #: A word that no text holds is as rare as can be.
        self._unknown = math.log(2.0 * len(texts) + 2.0)
        self._weights = [
            {word: _weight(n, length / mean) for word, n in each.items()}
            for each, length in zip(counts, lengths, strict=True)
        ]

    def best(self, query: str, most: int) -> list[tuple[int, float]]:
        """Return places of texts, the best first, with the share of the query that each holds.

        A share is the text's score by the highest that any text could reach; texts that hold no
        word of the query are left out, and of equal ones the first comes first.
        """
        words = words_of(query)
        highest = sum(self._idf.get(word, self._unknown) for word in words) * (_SATURATION + 1.0)
        scores = [
            sum(self._idf[word] * weights[word] for word in words if word in weights)
            for weights in self._weights
        ]
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        return [
            (place, round(scores[place] / highest, 6)) for place in order[:most] if scores[place]
        ]


def _weight(count: int, relative_length: float) -> float:
    dampening = _SATURATION * (1.0 - _LENGTH_SHARE + _LENGTH_SHARE * relative_length)
    return count * (_SATURATION + 1.0) / (count + dampening)
