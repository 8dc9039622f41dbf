"""Sentences and the words in them that carry meaning: what checks of texts compare by."""

import re
from typing import Final

__all__ = ["TEXT_CHARACTERS_MAX", "content_words", "sentences_of"]

#: A longer text is no answer: what checks it must not take for ever.
TEXT_CHARACTERS_MAX: Final = 20_000
_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD: Final = re.compile(r"[a-z0-9]+(?:[.,][0-9]+)*")
#: Function words: they stand in every sentence and support none.
_FUNCTION_WORDS: Final = """
    a an and are as at be been but by can could did do does for from had has have he her his i if in
    into is it its may me might must my no not of on or our out shall she should so than that the
    their them then there these they this those to up us was we were what when which who will with
    would you your please
"""
_IGNORED: Final = frozenset(_FUNCTION_WORDS.split())
#: Taken off in this order, so that bike, bikes and biked are one.
_ENDINGS: Final = ("s", "ing", "ed", "e")
_STEM_MIN: Final = 3


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, each without the space around it.

    >>> sentences_of("We looked. It is sent!")
    ['We looked.', 'It is sent!']
    """
    return [one.strip() for one in _END.split(text[:TEXT_CHARACTERS_MAX]) if one.strip()]


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text that carry meaning, without their endings; numbers as they are.

    >>> sorted(content_words("You are refunded 30.50 within days"))
    ['30.50', 'day', 'refund', 'within']
    """
    words = _WORD.findall(text[:TEXT_CHARACTERS_MAX].lower())
    return frozenset(_stem(word) for word in words if word not in _IGNORED)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_MIN:
            word = word[: -len(ending)]
    return word
