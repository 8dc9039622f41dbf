"""Prescribed steps: a reply tells the steps of the policy that it follows, all and in order.

The policy is the one that the draft names, and must be among those that were found for the message.
A draft is cut into pieces, sentences or what is strung together by `then` and its like, so that
each says one step as well as can be: words that several steps share count less. A step is told
where its pieces together hold enough of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from batuta.agents.verification.port import CheckBatch, Verdict, passed, text_of
from batuta.agents.verification.sentences import claim_words, content_words, sentences_of

__all__ = ["PrescribedSteps"]

#: So much of a step's weight its pieces must hold.
_LEAST: Final = 0.55
#: A piece that holds less of a step does not begin it.
_BEGINS: Final = 0.3
_NEGATIONS: Final = re.compile(r"\b(?:no|not|cannot|never)\b|n['\u2019]t\b", re.IGNORECASE)
#: A sentence of more parts is cut at every joint.
_PARTS_MAX: Final = 12
_JOINTS: Final = re.compile(
    r";|,\s+(?=(?:and\s+)?(?:then|next|finally|lastly|afterwards|after|once)\b)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step's words and what each weighs; the weights sum to 1."""

    weights: Mapping[str, float]

    def held_by(self, words: frozenset[str]) -> float:
        """Return how much of the step some words say."""
        return sum(weight for word, weight in self.weights.items() if word in words)

    def likeness(self, piece: "_Piece") -> float:
        """Return how well a piece says this step and nothing else: the harmonic mean of both."""
        held = self.held_by(piece.words)
        own = piece.words & self.weights.keys()
        if not own:
            return 0.0
        alone = len(own) / len(own | piece.claims)
        return 2.0 * held * alone / (held + alone)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a draft: its words, and those that are no courtesy."""

    words: frozenset[str]
    claims: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "_Piece":
        negated = frozenset({"not"}) if _NEGATIONS.search(text) else frozenset[str]()
        return cls(content_words(text) | negated, claim_words(text) | negated)


class PrescribedSteps:
    """Passes drafts that tell each step of their policy, the one after the other.

    PrescribedSteps(of="drafter", sources="policies"); the draft is {"text", "policy"}, sources are
    passages of {"title", "steps"}.
    """

    reasons: tuple[str, ...] = ("step_missing", "steps_out_of_order", "policy_unknown")

    def __init__(self, of: str, sources: str) -> None:
        """Take whose draft, and who has found policies."""
        self._of = of
        self._sources = sources

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each draft whether it keeps the steps."""
        codes, critiques = passed(len(batch)), dict[int, str]()
        pairs = zip(batch.values_of(self._of), batch.values_of(self._sources), strict=True)
        for row, (value, found) in enumerate(pairs):
            if (fault := _fault(value, found)) is not None:
                codes[row], critiques[row] = fault
        return Verdict(codes, critiques)


def _fault(value: object, found: object) -> tuple[int, str] | None:
    steps = _steps_of(value, found)
    if steps is None:
        return 3, "follow one of the policies that were found, and name it"
    held = _shares(text_of(value), _weighed(steps))
    at, before = -1, ""
    for step, (share, place) in zip(steps, held, strict=True):
        if share < _LEAST:
            return 1, f"say this as well: {step}"
        if place < at:
            return 2, f"say {step!r} after {before!r}"
        at, before = place, step
    return None


def _steps_of(value: object, found: object) -> list[str] | None:
    """Return the steps of the policy that a draft names; None where nobody found such a one."""
    draft = cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
    passages = cast("list[object]", found) if isinstance(found, list) else []
    for one in passages:
        passage = cast("Mapping[str, object]", one) if isinstance(one, Mapping) else {}
        steps = passage.get("steps")
        if isinstance(steps, list) and passage.get("title") == draft.get("policy"):
            return [str(step) for step in cast("list[object]", steps)]
    return None


def _weighed(steps: Sequence[str]) -> list[_Step]:
    words = [_Piece.of(step).words for step in steps]
    weighed: list[_Step] = []
    for own in words:
        shared = {word: 1.0 / sum(word in other for other in words) for word in own}
        total = sum(shared.values()) or 1.0
        weighed.append(_Step({word: weight / total for word, weight in shared.items()}))
    return weighed


def _shares(text: str, steps: Sequence[_Step]) -> list[tuple[float, int]]:
    """Return how much of each step is told, and which piece begins it."""
    told: list[tuple[frozenset[str], int]] = [(frozenset(), -1) for _ in steps]
    pieces = [piece for one in sentences_of(text) for piece in _cut(one, steps)]
    for place, piece in enumerate(pieces):
        likeness = [step.likeness(piece) for step in steps]
        best = max(range(len(steps)), key=lambda number: (likeness[number], -number))
        if not likeness[best]:
            continue
        before, begins = told[best]
        starts = begins < 0 and steps[best].held_by(piece.words) >= _BEGINS
        told[best] = (before | piece.words, place if starts else begins)
    return [(step.held_by(words), place) for step, (words, place) in zip(steps, told, strict=True)]


def _cut(sentence: str, steps: Sequence[_Step]) -> list[_Piece]:
    """Return a sentence in one piece or several, so that its words say steps as well as can be."""
    parts = _JOINTS.split(sentence)
    if len(parts) > _PARTS_MAX:
        return [_Piece.of(part) for part in parts]
    # The best cut of the first n parts: what it is worth, and its pieces.
    best: list[tuple[float, list[_Piece]]] = [(0.0, [])]
    for end in range(1, len(parts) + 1):
        found: list[tuple[float, list[_Piece]]] = []
        for begin in range(end):
            piece = _Piece.of(" ".join(parts[begin:end]))
            worth = len(piece.claims) * max(step.likeness(piece) for step in steps)
            found.append((best[begin][0] + worth, [*best[begin][1], piece]))
        best.append(max(found, key=lambda one: one[0]))
    return best[-1][1]
