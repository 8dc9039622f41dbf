"""Compliance: a text says every step that is prescribed, in the order in which it is prescribed.

A step is named by words; a sentence says it where it holds enough of them. Rules about numbers and
fields are expressions (`rule`).
"""

from collections.abc import Sequence
from typing import Final

from batuta.agents.verification.port import CheckBatch, Verdict, passed, text_of
from batuta.agents.verification.sentences import content_words, sentences_of

__all__ = ["ComplianceCheck"]

#: So much of a step's words one sentence must hold.
_LEAST: Final = 0.6


class ComplianceCheck:
    """Passes texts that say each step, the one after the other.

    ComplianceCheck("draft", ["confirm your identity", "send the refund"])
    """

    reasons: tuple[str, ...] = ("step_missing", "steps_out_of_order")

    def __init__(self, of: str, steps: Sequence[str]) -> None:
        """Take whose text, empty for that of whoever answers, and the steps in order."""
        self._of = of
        self._steps = [(step, content_words(step)) for step in steps]

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each text whether it keeps the steps."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        for row, value in enumerate(batch.values_of(self._of)):
            if (found := self._fault(text_of(value))) is not None:
                codes[row], critiques[row] = found
        return Verdict(codes, critiques)

    def _fault(self, text: str) -> tuple[int, str] | None:
        said = [content_words(sentence) for sentence in sentences_of(text)]
        at, before = -1, ""
        for step, words in self._steps:
            places = [
                place
                for place, sentence in enumerate(said)
                if len(words & sentence) >= _LEAST * len(words)
            ]
            if not places:
                return 1, f"say this as well: {step}"
            if places[-1] < at:
                return 2, f"say {step!r} after {before!r}"
            at, before = next(place for place in places if place >= at), step
        return None
