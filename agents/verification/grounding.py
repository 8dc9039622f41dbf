"""Grounding: every claim of a text stands in its sources.

A claim is a sentence. It is supported where one source holds enough of its content words, and every
number in it: an invented amount or deadline is the costliest kind of invention. Lexical support is
a floor, not proof: a validator model may judge what words cannot.
"""

from typing import Final

from batuta.agents.verification.port import CheckBatch, Verdict, passed, text_of, texts_of
from batuta.agents.verification.sentences import content_words, sentences_of

__all__ = ["GroundingCheck"]

#: A sentence with fewer content words claims nothing: a greeting, a thanks.
_CLAIM_WORDS_MIN: Final = 3


class GroundingCheck:
    """Passes texts whose every sentence has support among the sources.

    GroundingCheck(of="draft", sources="retrieve", least=0.6)
    """

    reasons: tuple[str, ...] = ("claim_ungrounded", "nothing_to_ground")

    def __init__(self, of: str, sources: str, least: float = 0.6) -> None:
        """Take whose text, whose sources, and which share of a claim's words one must hold."""
        self._of = of
        self._sources = sources
        self._least = least

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each text whether its claims are supported."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        pairs = zip(batch.values_of(self._of), batch.values_of(self._sources), strict=True)
        for row, (value, found) in enumerate(pairs):
            text, sources = text_of(value), texts_of(found)
            if not text or not sources:
                codes[row], critiques[row] = 2, "write a text, from the sources alone"
            elif (claim := self._unsupported(text, sources)) is not None:
                codes[row], critiques[row] = 1, f"no source says: {claim}"
        return Verdict(codes, critiques)

    def _unsupported(self, text: str, sources: list[str]) -> str | None:
        held = [content_words(source) for source in sources]
        for claim in sentences_of(text):
            words = content_words(claim)
            numbers = {word for word in words if word[0].isdigit()}
            if len(words) < _CLAIM_WORDS_MIN and not numbers:
                continue
            needed = self._least * len(words)
            if not any(len(words & one) >= needed and numbers <= one for one in held):
                return claim
        return None
