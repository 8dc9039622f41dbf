"""Sentences and the words in them that carry meaning: what checks of texts compare by."""

import re
from typing import Final

__all__ = [
    "TEXT_CHARACTERS_MAX",
    "claim_words",
    "content_words",
    "is_courteous",
    "sentences_of",
    "words_of",
]

#: A longer text is no answer: what checks it must not take for ever.
TEXT_CHARACTERS_MAX: Final = 20_000
#: Between sentences: behind their mark, at a line's end, before "(b)", "2)", "3." or "Step 4:".
_END: Final = re.compile(
    r"(?<=[.!?])\s+|\n+|\s+(?=(?:\((?:[a-z]|\d{1,2})\)|(?:[a-z]|\d{1,2})\)|\d{1,2}\.|step\s+\d{1,2}:)\s)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[a-z0-9]+(?:[.,][0-9]+)*")
#: Function words: they stand in every sentence and support none.
_FUNCTION_WORDS: Final = """
    a an and are as at be been but by can could did do does for from had has have he her his i if in
    into is it its may me might must my no not of on or our out shall she should so than that the
    their them then there these they this those to up us was we were what when which who will with
    would you your please
"""
_IGNORED: Final = frozenset(_FUNCTION_WORDS.split())
#: What strings sentences together, numbers them, or says who acts: no claim hangs on it.
_CONNECTIVES: Final = """
    about after afterwards again all also am another any begin below current currently done end
    final finally first following go going happen here how last lastly later meanwhile next now
    once only second start step steps team than thing things third through when while why
"""
#: What courtesy is made of; a sentence of these alone claims nothing.
_COURTESIES: Final = """
    afternoon annoyed annoying anything apologies apologise apologize apology appreciate assist
    assistance assisting bear best bother care caused colleagues concern confusion contact
    contacting customer dear delighted desk else enquiry evening experience feel find forward
    frustrating frustration further get getting glad good goodbye great greetings happy hear
    hearing hello help helping helps hesitate hi hope inconvenience inquiry kind kindly know let
    letting look lovely madam many message more morning much need nice others patience patient
    pleased pleasure question questions reach reaching regards regret reply respond response
    right say see shortly sincerely sir something soon sorry support sure sympathise take taking
    thank thanks time touch trouble truly trust unclear understand understanding understood
    unpleasant upset very warm way welcome well wish wishes wishing wonderful worry write
    writing yours
"""
#: "1.", "2)", "(a)", "Step 3:", "-" before a sentence.
_MARKER: Final = re.compile(
    r"^(?:step\s+\d{1,2}\s*[:.)]|\(?(?:[a-z]|\d{1,2})\)|(?:\d{1,2}|[a-z])\.|[-*\u2022\u2013])\s*",
    re.IGNORECASE,
)
#: Taken off in this order, so that bike, bikes and biked are one.
_ENDINGS: Final = ("s", "ing", "ed", "e")
_STEM_MIN: Final = 3


def sentences_of(text: str) -> list[str]:
    r"""Return the sentences of a text, each without the space and the number before it.

    >>> sentences_of("We looked. It is sent!\n2. Step 3: Wait.")
    ['We looked.', 'It is sent!', 'Wait.']
    """
    parts = [one.strip() for one in _END.split(text[:TEXT_CHARACTERS_MAX])]
    return [bare for one in parts if (bare := _MARKER.sub("", one))]


def content_words(text: str) -> frozenset[str]:
    """Return the words of a text that carry meaning, without their endings; numbers as they are.

    >>> sorted(content_words("You are refunded 30.50 within days"))
    ['30.50', 'day', 'refund', 'within']
    """
    return frozenset(words_of(text))


def words_of(text: str) -> list[str]:
    """Return the same words as often as they stand there.

    >>> words_of("The card, my cards")
    ['card', 'card']
    """
    words = _WORD.findall(text[:TEXT_CHARACTERS_MAX].lower())
    return [_stem(word) for word in words if word not in _IGNORED]


def claim_words(sentence: str) -> frozenset[str]:
    """Return the words of a sentence that claim something: neither courtesy nor what strings.

    >>> sorted(claim_words("Next we block the card")), sorted(claim_words("Kind regards,"))
    (['block', 'card'], [])
    """
    return content_words(sentence) - _UNCLAIMING


def is_courteous(sentence: str) -> bool:
    """Tell whether a sentence has a word of courtesy.

    >>> is_courteous("Write again if you need help"), is_courteous("We block the card")
    (True, False)
    """
    return not _COURTEOUS.isdisjoint(content_words(sentence))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_MIN:
            word = word[: -len(ending)]
    return word


#: Stems, as `content_words` gives them.
_COURTEOUS: Final = frozenset(map(_stem, _COURTESIES.split()))
_UNCLAIMING: Final = _COURTEOUS | frozenset(map(_stem, _CONNECTIVES.split()))
