"""The course of one answer through the remedies of its checkpoint; parked, it is JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from batuta.schemas.decision import Correction
from batuta.schemas.review import FailedAnswer

__all__ = ["Course", "Mended", "corrections_in", "course_of"]

_FIELDS: Final = len(Correction._fields)


class Mended(NamedTuple):
    """What a repair by rules has made of an answer; NaN as the score: nothing."""

    score: float
    confidence: float
    value: object


@dataclass(slots=True)
class Course:
    """How far one answer has come.

    Attributes:
        failed: why it did not pass the last time, the first check's reason first.
        critique: the same in words, of bounded length.
        tried: the attempts that have ended.
        remedy: the name of the one whose answer is on trial, or was the last; empty for the step's
            own.
        under_way: whether an attempt is.
        ended: whether nothing more is tried.
        odds: of the attempt under way.
        spent_nano: what those whom it asks had cost before.
        kept: their answers before, by model, where they are to answer again.
        mended: what a repair by rules has made of the answer.
        taint: what a new answer carries over from the one before.
        shown: what the person who is asked now is shown of the answer before.
        answered_by: who gave the step's own answer that failed last; empty where that is known.
    """

    failed: tuple[str, ...] = ()
    critique: str = ""
    tried: list[Correction] = field(default_factory=list[Correction])
    remedy: str = ""
    under_way: bool = False
    ended: bool = False
    odds: float = 0.5
    spent_nano: int = 0
    kept: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    mended: Mended | None = None
    taint: int = 0
    shown: FailedAnswer | None = None
    answered_by: str = ""

    def row(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "failed": self.failed,
            "critique": self.critique,
            "tried": [list(one) for one in self.tried],
            "remedy": self.remedy,
            "under_way": self.under_way,
            "ended": self.ended,
            "odds": self.odds,
            "spent_nano": self.spent_nano,
            "kept": self.kept,
            "mended": self.mended,
            "taint": self.taint,
            "shown": None if self.shown is None else self.shown._asdict(),
            "answered_by": self.answered_by,
        }


def course_of(told: Mapping[str, object]) -> Course:
    """Take back what `Course.row` returned.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    mended = cast("list[object] | None", told["mended"])
    return Course(
        failed=tuple(cast("list[str]", told["failed"])),
        critique=str(told["critique"]),
        tried=list(corrections_in(told)),
        remedy=str(told["remedy"]),
        under_way=bool(told["under_way"]),
        ended=bool(told["ended"]),
        odds=float(cast("float", told["odds"])),
        spent_nano=int(cast("int", told["spent_nano"])),
        kept=dict(cast("dict[str, dict[str, object]]", told["kept"])),
        mended=None if mended is None else Mended(_float(mended[0]), _float(mended[1]), mended[2]),
        taint=int(cast("int", told["taint"])),
        # Work that was parked before people were shown anything has nothing of it.
        shown=_shown(cast("Mapping[str, object] | None", told.get("shown"))),
        answered_by=str(told.get("answered_by", "")),
    )


def corrections_in(told: Mapping[str, object]) -> tuple[Correction, ...]:
    """Return the attempts that have ended, of a course as JSON.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    tried = cast("list[list[object]]", told["tried"])
    if any(len(one) != _FIELDS for one in tried):
        raise ValueError(f"attempts of {_FIELDS} fields are wanted, here: {tried}")
    found = [Correction._make(one) for one in tried]
    return tuple(one._replace(failed=tuple(one.failed)) for one in found)


def _shown(told: Mapping[str, object] | None) -> FailedAnswer | None:
    if told is None:
        return None
    found = FailedAnswer(**cast("dict[str, Any]", told))
    return found._replace(reasons=tuple(found.reasons), taint=tuple(found.taint))


def _float(value: object) -> float:
    return float("nan") if value is None else float(cast("float", value))
