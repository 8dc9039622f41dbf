"""Remedies: what is tried when a checkpoint has not let an answer pass, and in which order.

    retry    the models of the step that take a critique answer again, and who reads their answers
    repair   a deterministic part of the user's own, or a model, mends the answer
    model    another model answers instead
    human    a person does; stands last, and is asked whatever the bounds say

Whatever comes of a remedy passes the same checkpoint again; a person's answer is final. The class
of a failure is the reason of the first check that failed. Attempts are bounded per event and per
class. Remedies that keep no place of their own go by what has helped most against that class so
far; of equals the first in the file goes first, so that the same odds choose the same remedy.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from batuta.agents.models.answers import Answers, Scores
from batuta.schemas.decision import Correction
from batuta.schemas.ingested import Ingested

__all__ = ["Odds", "Remedies", "Remedy", "RemedyKind", "Repair", "RepairBatch", "attempts_of"]

RemedyKind = Literal["retry", "repair", "model", "human"]
#: How likely a remedy helps, by checkpoint, class of failure, and remedy.
Odds = Callable[[str, str, str], float]
#: With this a person's remedy begins: nothing is tried behind it.
_PERSON: Final = "human:"
_PLACES: Final = {"first": 0, "": 1, "last": 2}


@dataclass(frozen=True, slots=True)
class RepairBatch:
    """Answers that have not passed a checkpoint.

    Attributes:
        events: in order.
        values: what was answered beside the score, of each; None where nothing was.
        scores: (events,) of the answers.
        reasons: why each failed, the first check's first.
        critiques: what is wrong with each, in words, of bounded length.
    """

    events: Sequence[Ingested]
    values: Sequence[object]
    scores: Scores
    reasons: Sequence[tuple[str, ...]]
    critiques: Sequence[str]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.events)


class Repair(Protocol):
    """Mends answers by rules: the same answer is mended the same way each time."""

    def repair(self, batch: RepairBatch) -> Answers:
        """Return one answer per event, NaN as the score of those that it cannot mend."""
        ...


@dataclass(frozen=True)
class Remedy:
    """One remedy in its place.

    Attributes:
        name: as records and metrics call it, `model:NAME`.
        asks: the models that answer: those that answer again, another one, a person.
        told: which of them are given the critique.
        part: of a `repair` by rules.
        times: it is tried for one event at most.
        reasons: the classes of failure that it is tried for; empty: all.
        place: `first` or `last` where it keeps that.
        needs_ms: it is left out where the event has less time; 0: any time will do.
    """

    kind: RemedyKind
    name: str
    asks: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    part: Repair | None = None
    times: int = 1
    reasons: frozenset[str] = frozenset()
    place: str = ""
    needs_ms: int = 0

    @property
    def stands_in(self) -> bool:
        """Whether its answer takes the place of the step's own."""
        return self.kind != "retry"

    @property
    def text(self) -> str:
        """What it is, in a few words."""
        if self.kind == "retry":
            return "retry with the critique" + (f" up to {self.times} times" * (self.times > 1))
        return f"{self.kind} {self.name.partition(':')[2]}"


@dataclass(frozen=True)
class Remedies:
    """The remedies of one checkpoint.

    Attributes:
        each: in the order of the file, a person last.
        attempts_max: of one event.
        attempts_per_reason_max: of one event for one class of failure.
        by_success: whether the odds order those that keep no place.
    """

    each: tuple[Remedy, ...] = ()
    attempts_max: int = 3
    attempts_per_reason_max: int = 2
    by_success: bool = True

    def next(self, tried: Sequence[Correction], at: str, reason: str, odds: Odds) -> int | None:
        """Return the place of the remedy to try now; None where there is none left.

        Args:
            tried: what was tried for the event at this checkpoint.
            at: the checkpoint.
            reason: the class of the failure.
            odds: what helps.
        """
        if any(one.remedy.startswith(_PERSON) for one in tried):
            return None
        attempts = attempts_of(tried)
        same = [one for one in attempts if one.failed[0] == reason]
        ended = len(attempts) >= self.attempts_max or len(same) >= self.attempts_per_reason_max
        found = [
            place
            for place, remedy in enumerate(self.each)
            if _left(remedy, tried, reason) and (remedy.kind == "human" or not ended)
        ]
        return min(found, key=lambda place: self._rank(place, at, reason, odds), default=None)

    def _rank(self, place: int, at: str, reason: str, odds: Odds) -> tuple[int, float, int]:
        remedy = self.each[place]
        if remedy.kind == "human":
            return len(_PLACES), 0.0, place
        known = odds(at, reason, remedy.name) if self.by_success and not remedy.place else 0.0
        return _PLACES[remedy.place], -known, place


def attempts_of(tried: Iterable[Correction]) -> list[Correction]:
    """Return what counts against the bounds: neither what was skipped, nor people."""
    made = (one for one in tried if one.result != "skipped")
    return [one for one in made if not one.remedy.startswith(_PERSON)]


def _left(remedy: Remedy, tried: Sequence[Correction], reason: str) -> bool:
    """Say whether a remedy may be tried still: it is not used up, and was not skipped."""
    own = [one for one in tried if one.remedy == remedy.name]
    if len(own) >= remedy.times or any(one.result == "skipped" for one in own):
        return False
    return not remedy.reasons or reason in remedy.reasons
