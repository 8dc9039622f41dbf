"""Tone: a text to a customer that neither shouts, nor insults, nor blames, nor threatens."""

import re
from collections.abc import Sequence
from typing import Final

from batuta.agents.reasons import TEXT_MISSING, TEXT_TOO_LONG
from batuta.agents.verification.port import CheckBatch, Verdict, is_blank, passed, text_of
from batuta.agents.verification.sentences import TEXT_CHARACTERS_MAX, sentences_of

__all__ = ["ToneCheck"]

_RUDE: Final = (
    *("idiot", "stupid", "dumb", "moron", "fool", "ridiculous", "pathetic", "nonsense", "shut up"),
    *("whatever", "get lost", "stop whining", "stop complaining", "your problem", "not my problem"),
    *("nobody cares", "don't care", "do not care", "obviously", "as i already said", "lazy"),
    *("half a brain", "use your head", "use your brain", "grow up", "deal with it", "get over it"),
    *("rocket science", "common sense", "any simpler", "silly", "genius", "clueless", "frankly"),
    *("spare us", "spare me", "the drama", "shame on", "sick of", "tired of", "fed up"),
    *("pester us", "pestering", "whining", "whine", "moaning", "nagging", "stop bothering"),
    *("bother us", "stop asking", "think before you", "thinking before you", "do your homework"),
    *("makes no difference to us", "couldn't care less", "not interested in your", "go away"),
)
_BLAMING: Final = (
    *("your fault", "your own fault", "you should have known", "you failed to", "you people"),
    *("you clearly", "if you had bothered", "learn to read", "you never", "you always"),
    *("clearly you", "never bothered", "brought this on yourself", "brought it on yourself"),
    *("our fault that you", "you cannot follow", "you can't follow", "you should have read"),
    *("next time read", "pay attention", "we will not repeat", "we won't repeat", "what part of"),
    *("told you already", "already told you", "how many times", "write to us again about"),
    *("do not contact us", "don't contact us", "do not write to us", "don't write to us"),
)
_LETTERS_MIN: Final = 12
_LOUD_SHARE: Final = 0.5
_CRIES: Final = re.compile(r"[!?]{2,}")


class ToneCheck:
    """Passes texts without the signs of a wrong tone; `unwanted` adds words of one's own."""

    reasons: tuple[str, ...] = (
        *("tone_rude", "tone_blaming", "tone_shouting", "tone_unwanted"),
        *(TEXT_MISSING, TEXT_TOO_LONG),
    )

    def __init__(self, of: str = "", unwanted: Sequence[str] = ()) -> None:
        """Take whose text, else that of whoever answers; and what further must not stand in it."""
        self._of = of
        self._unwanted = _any_of(unwanted)

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each text whether its tone is right."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        for row, value in enumerate(batch.values_of(self._of)):
            if (found := self._fault(text_of(value))) is not None:
                codes[row], critiques[row] = found
        return Verdict(codes, critiques)

    def _fault(self, text: str) -> tuple[int, str] | None:
        if is_blank(text):
            return 5, "write a text"
        if len(text) > TEXT_CHARACTERS_MAX:
            return 6, "write less"
        for code, words in enumerate((_RUDE_WORDS, _BLAMING_WORDS), 1):
            if (found := words.search(text)) is not None:
                return code, f"leave out {found[0]!r} and what it says of the reader"
        if _CRIES.search(text) or any(map(_is_loud, sentences_of(text))):
            return 3, "write calmly: no capitals throughout, one mark at a sentence's end"
        if self._unwanted is not None and (found := self._unwanted.search(text)) is not None:
            return 4, f"leave out {found[0]!r}"
        return None


def _is_loud(sentence: str) -> bool:
    letters = [one for one in sentence if one.isalpha()]
    capitals = sum(map(str.isupper, letters))
    return len(letters) >= _LETTERS_MIN and capitals > _LOUD_SHARE * len(letters)


def _any_of(words: Sequence[str]) -> re.Pattern[str] | None:
    if not words:
        return None
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    found = _any_of(words)
    assert found is not None, "no words"
    return found


_RUDE_WORDS: Final = _pattern(_RUDE)
_BLAMING_WORDS: Final = _pattern(_BLAMING)
