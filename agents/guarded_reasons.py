"""Asks reasons of the user's own so that what breaks in them costs words and no decision."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar, cast

from batuta.agents.reasons import BatchReasons, Reasons, shared_text_of
from batuta.agents.understanding.features import FeatureRows
from batuta.agents.understanding.isolation import DIRECT, Isolation

__all__ = ["GuardedReasons"]

Row = Mapping[str, float]
Codes = tuple[str, ...]
ResultT = TypeVar("ResultT")

_PART: Final = "reasons"
#: A record has room for so many codes of one event, each so long.
_CODES_MAX: Final = 20
_CODE_CHARACTERS_MAX: Final = 100
#: Texts are asked for once: there are as many as there are codes, which are few.
_TEXTS_MAX: Final = 1_000
#: Codes that go together are looked at once.
_KNOWN_MAX: Final = 1_000


class GuardedReasons:
    """Reasons within bounds: a part that raises, hangs or answers nonsense gives none.

    Args:
        reasons: what is asked.
        isolation: how.
    """

    def __init__(self, reasons: Reasons, isolation: Isolation = DIRECT) -> None:
        self._reasons = reasons
        self._isolation = isolation
        self._texts: dict[str, str] = {}
        self._known: dict[Codes, Codes] = {}

    def codes_of_each(self, rows: Sequence[Row]) -> list[Codes]:
        """Return the codes of each row of features; of one at fault, none."""
        if not rows:
            return []
        at_once = self._codes_at_once(rows)
        if at_once is not None:
            return at_once
        failures: list[Exception] = []

        def ask() -> list[Codes]:
            # Copies: what is done to them later is nobody's concern.
            return [self._codes_of(dict(row), failures) for row in rows]

        nothing: list[Codes] = [()] * len(rows)
        found = self._asked(ask, nothing)
        if failures:
            self._isolation.report(_PART, failures[0])
        return found

    def _codes_at_once(self, rows: Sequence[Row]) -> list[Codes] | None:
        """Return the codes of all rows; None where they have to be asked for one by one."""
        reasons = self._reasons
        if not isinstance(rows, FeatureRows) or not isinstance(reasons, BatchReasons):
            return None

        def ask() -> list[Codes]:
            found = reasons.codes_of_all(rows.columns())
            if len(found) != len(rows):
                raise ValueError(f"codes_of_all answered {len(found)} of {len(rows)} events")
            return [self._known.get(codes) or self._checked(codes) for codes in found]

        try:
            return self._isolation.run(_PART, ask)
        except Exception as failure:  # noqa: BLE001 - reasons are anybody's code
            self._isolation.report(_PART, failure)
            return None

    def text_of(self, code: str) -> str:
        """Return the text of a code; where none can be told, the one that all pipelines share."""
        if code in self._texts:
            return self._texts[code]
        shared = shared_text_of(code)
        text = cast("object", self._asked(lambda: self._reasons.text_of(code), shared))
        if not isinstance(text, str):
            said = f"text_of answered {type(text).__name__} for the code {code!r}, no text"
            self._isolation.report(_PART, TypeError(said))
            text = shared
        if len(self._texts) < _TEXTS_MAX:
            self._texts[code] = text
        return text

    def _asked(self, work: Callable[[], ResultT], otherwise: ResultT) -> ResultT:
        try:
            return self._isolation.run(_PART, work)
        except Exception as failure:  # noqa: BLE001 - reasons are anybody's code
            self._isolation.report(_PART, failure)
            return otherwise

    def _codes_of(self, row: Row, failures: list[Exception]) -> Codes:
        try:
            return _checked(self._reasons.codes_of(row))
        except Exception as failure:  # noqa: BLE001 - reasons are anybody's code
            failures.append(failure)
            return ()

    def _checked(self, codes: Codes) -> Codes:
        """Return codes as they may stand; they are few, and mostly those of others before."""
        checked = _checked(codes)
        if codes == checked and len(self._known) < _KNOWN_MAX:
            self._known[checked] = checked
        return checked


def _checked(codes: object) -> Codes:
    if not isinstance(codes, tuple | list):
        raise TypeError(f"codes_of answered {type(codes).__name__}, no tuple of codes")
    kept: list[str] = []
    for code in codes[:_CODES_MAX]:
        if not isinstance(code, str) or not 0 < len(code) <= _CODE_CHARACTERS_MAX:
            limit = f"no text of 1 to {_CODE_CHARACTERS_MAX} characters"
            raise TypeError(f"codes_of answered the code {code!r:.120}, {limit}")
        kept.append(code)
    return tuple(kept)
