"""Privacy: a text tells nobody's personal data but what its reader has told us.

Addresses, numbers of cards, accounts and telephones stand in a text only if they stand in the
event, or in a source that is there to be told (a policy has `steps`); so do the names that a source
names under `names`: of other customers, say. Card numbers are known by their check digit (ISO/IEC
7812), accounts by theirs (ISO 13616).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from batuta.agents.reasons import TEXT_MISSING, TEXT_TOO_LONG
from batuta.agents.verification.port import (
    CheckBatch,
    Verdict,
    is_blank,
    passed,
    text_of,
    texts_of,
)
from batuta.agents.verification.sentences import TEXT_CHARACTERS_MAX

__all__ = ["PrivacyCheck"]

_ADDRESS: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_ACCOUNT: Final = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b")
_DIGITS: Final = re.compile(r"(?<![\w.,])\+?\(?\d(?:[ ().\-/]{0,2}\d){6,18}(?![\w])")
_ACCOUNT_MIN: Final = 15
#: Days are no telephones.
_DATE: Final = re.compile(r"\b(?:\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{4})\b")
_CARD_DIGITS: Final = range(13, 20)
_PHONE_DIGITS: Final = range(7, 16)
_WITHOUT_SIGNS: Final = re.compile(r"[\W_]+")


class PrivacyCheck:
    """Passes texts without personal data of others.

    PrivacyCheck(of="drafter", sources="policies")
    """

    reasons: tuple[str, ...] = (
        "address_leaked",
        "account_leaked",
        "card_leaked",
        "phone_leaked",
        "name_leaked",
        *(TEXT_MISSING, TEXT_TOO_LONG),
    )

    def __init__(self, of: str = "", sources: str = "") -> None:
        """Take whose text, else that of whoever answers; and whose values hold what is known."""
        self._of = of
        self._sources = sources

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each text whether it keeps to itself what is nobody's business."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        known = batch.values_of(self._sources) if self._sources else [None] * len(batch)
        for row, value in enumerate(batch.values_of(self._of)):
            fault = self._fault(text_of(value), batch.events[row].data, known[row])
            if fault is not None:
                codes[row], critiques[row] = fault
        return Verdict(codes, critiques)

    def _fault(
        self, text: str, data: Mapping[str, object], known: object
    ) -> tuple[int, str] | None:
        if is_blank(text):
            return 6, "write a text"
        if len(text) > TEXT_CHARACTERS_MAX:
            return 7, "write less"
        told = _bare(f"{_texts(data)} {_public(known)}")
        for code, found in (*_patterns(text), *_names(text, known)):
            if _bare(found) not in told:
                kind = self.reasons[code - 1].removesuffix("_leaked")
                return code, f"leave out the {kind} of somebody else"
        return None


def _patterns(text: str) -> Iterator[tuple[int, str]]:
    for found in _ADDRESS.findall(text):
        yield 1, found
    for match in _ACCOUNT.finditer(text):
        if account := _account(match[0]):
            yield 2, account
            text = text.replace(account, " ")
    for match in _DIGITS.finditer(_DATE.sub(" ", text)):
        digits = "".join(one for one in match[0] if one.isdigit())
        if len(digits) in _CARD_DIGITS and _is_card(digits):
            yield 3, match[0]
        elif len(digits) in _PHONE_DIGITS:
            yield 4, match[0]


def _names(text: str, known: object) -> Iterator[tuple[int, str]]:
    for passage in _passages(known):
        names = passage.get("names")
        for name in cast("list[object]", names) if isinstance(names, list) else []:
            if re.search(rf"\b{re.escape(str(name))}\b", text, re.IGNORECASE):
                yield 5, str(name)


def _passages(known: object) -> list[Mapping[str, object]]:
    found = cast("list[object]", known) if isinstance(known, list) else [known]
    return [cast("Mapping[str, object]", one) for one in found if isinstance(one, Mapping)]


def _public(known: object) -> str:
    return " ".join(
        text for one in _passages(known) if one.get("steps") for text in texts_of(dict(one))
    )


def _texts(data: Mapping[str, object]) -> str:
    return " ".join(value for value in data.values() if isinstance(value, str))


def _bare(text: str) -> str:
    """Return a text without the signs by which the same number is written otherwise."""
    return _WITHOUT_SIGNS.sub("", text).lower()


def _is_card(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others.

    >>> _is_card("4111111111111111"), _is_card("4111111111111112")
    (True, False)
    """
    doubled = [int(one) * 2 for one in digits[-2::-2]]
    total = sum(int(one) for one in digits[::-2]) + sum(one - 9 * (one > 9) for one in doubled)  # noqa: PLR2004
    return total % 10 == 0


def _is_account(text: str) -> bool:
    """Tell whether the check digits of an account number fit.

    >>> _is_account("GB82 WEST 1234 5698 7654 32"), _is_account("GB83 WEST 1234 5698 7654 32")
    (True, False)
    """
    bare = _WITHOUT_SIGNS.sub("", text)
    turned = _digits_of(bare[4:] + bare[:4])
    return turned % 97 == 1


def _account(found: str) -> str:
    """Return the account number that a run of capitals and digits begins with; empty for none."""
    for end in range(len(found), _ACCOUNT_MIN - 1, -1):
        if found[end - 1].isalnum() and _is_account(found[:end]):
            return found[:end]
    return ""


def _digits_of(signs: Sequence[str] | str) -> int:
    return int("".join(str(int(one, 36)) for one in signs))
