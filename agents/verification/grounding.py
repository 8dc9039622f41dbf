"""Grounding: every claim of a text stands in its sources.

A claim is a sentence that says more than courtesy does. It is supported where one source holds
enough of its words, and every number in it: an invented amount or deadline is the costliest kind of
invention. A question claims nothing but its numbers. Lexical support is a floor, not proof: a
validator model may judge what words cannot.
"""

from typing import Final

from batuta.agents.reasons import TEXT_TOO_LONG
from batuta.agents.verification.port import (
    CheckBatch,
    Verdict,
    is_blank,
    passed,
    text_of,
    texts_of,
)
from batuta.agents.verification.sentences import (
    TEXT_CHARACTERS_MAX,
    claim_words,
    content_words,
    is_courteous,
    sentences_of,
)

__all__ = ["GroundingCheck"]

#: With fewer words a sentence claims nothing; where it is courteous, with fewer words beside.
_CLAIM_WORDS_MIN: Final = 2
_BESIDE_COURTESY_MIN: Final = 3


class GroundingCheck:
    """Passes texts whose every sentence has support among the sources.

    GroundingCheck(of="draft", sources="retrieve", least=0.6)
    """

    reasons: tuple[str, ...] = ("claim_ungrounded", "nothing_to_ground", TEXT_TOO_LONG)

    def __init__(self, of: str, sources: str, least: float = 0.6) -> None:
        """Take whose text, whose sources, and which share of a claim's words one must hold.

        An empty `of` is whoever answers.
        """
        self._of = of
        self._sources = sources
        self._least = least

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each text whether its claims are supported."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        pairs = zip(batch.values_of(self._of), batch.values_of(self._sources), strict=True)
        for row, (value, found) in enumerate(pairs):
            text, sources = text_of(value), texts_of(found)
            if is_blank(text) or not sources:
                codes[row], critiques[row] = 2, "write a text, from the sources alone"
            elif len(text) > TEXT_CHARACTERS_MAX:
                codes[row], critiques[row] = 3, "write less"
            elif (claim := self._unsupported(text, sources)) is not None:
                codes[row], critiques[row] = 1, f"no source says: {claim}"
        return Verdict(codes, critiques)

    def _unsupported(self, text: str, sources: list[str]) -> str | None:
        held = [content_words(source) for source in sources]
        for claim in sentences_of(text):
            words = claim_words(claim)
            numbers = {word for word in words if word[0].isdigit()}
            if not numbers and (claim.endswith("?") or len(words) < _words_min(claim)):
                continue
            needed = self._least * len(words)
            if not any(len(words & one) >= needed and numbers <= one for one in held):
                return claim
        return None


def _words_min(sentence: str) -> int:
    return _BESIDE_COURTESY_MIN if is_courteous(sentence) else _CLAIM_WORDS_MIN
