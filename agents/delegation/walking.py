"""The walk over a plan: from what was heard so far to what is known, and who is to be asked next.

Nothing is kept between two walks, so a plan goes on from whatever was written down. One walk is a
few array operations per node, for all rows of a batch that follow the plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.delegation.correcting import walk_checked
from batuta.agents.delegation.heard import ANSWERED, ASKED, UNASKED, Heard
from batuta.agents.delegation.planned import walk_planned
from batuta.agents.delegation.plans import (
    Ask,
    Cascade,
    Checked,
    Fallback,
    Node,
    Parallel,
    Planned,
    Sequence,
    Steered,
)
from batuta.agents.delegation.reached import NOBODY, Answerers, Flags, Reached
from batuta.agents.delegation.verifying import Verifier
from batuta.agents.models.answers import Scores
from batuta.agents.policy.names import Column

__all__ = ["Walk"]

#: A score from here on is a vote for yes.
_YES: Final = 0.5


@dataclass
class Walk:
    """One walk.

    Attributes:
        heard: so far.
        elapsed_ms: since the plan began.
        wanted: who is to be asked about which rows, by model.
        next_ms: when, since the beginning, time alone changes something; None: never.
        lapsed: whether something is complete because its time is over.
        verifier: runs checkpoints; None where a plan has none.
        patience_ms: (rows,) how long each may take since the beginning; None: for ever.
        following: whether a checkpoint that was met wants to know who has answered for each row.
    """

    heard: Heard
    elapsed_ms: int
    wanted: dict[str, Flags] = field(default_factory=dict[str, Flags])
    next_ms: int | None = None
    lapsed: bool = False
    verifier: Verifier | None = None
    patience_ms: npt.NDArray[np.int64] | None = None
    following: bool = False

    def left_ms(self, row: int) -> int | None:
        """Return how long an event may still take; None: for ever."""
        return None if self.patience_ms is None else int(self.patience_ms[row]) - self.elapsed_ms

    def walk(self, node: Node, where: Flags) -> Reached:
        """Return what `node` has come to for the rows of `where`."""
        if isinstance(node, Ask):
            return self._ask(node, where)
        if isinstance(node, Checked):
            return walk_checked(self, node, where)
        if isinstance(node, Parallel):
            return self._parallel(node, where)
        if isinstance(node, Sequence):
            return self._sequence(node, where)
        if isinstance(node, Planned | Steered):
            return walk_planned(self, node, where)
        return self._cascade(node, where) if isinstance(node, Cascade) else self._fall(node, where)

    def _ask(self, node: Ask, where: Flags) -> Reached:
        told = self.heard.of(node.model)
        unasked = where & (told.state == UNASKED)
        if node.person:
            # No call: whoever parks the rows opens their cases.
            told.state[unasked] = ASKED
        elif unasked.any():
            before = self.wanted.get(node.model)
            self.wanted[node.model] = unasked if before is None else before | unasked
        done = told.state >= ANSWERED
        usable = told.state == ANSWERED
        marked = np.zeros(len(done), np.bool_)
        scores, confidence = told.scores.copy(), told.confidence.copy()
        by = self._answerers(node.model) if self.following else None
        return Reached(done, usable, scores, confidence, marked, told.taint.copy(), by)

    def _answerers(self, model: str | None) -> Answerers:
        """Return that one answers for every row; None: no one alone."""
        place = NOBODY if model is None else self.heard.names.index(model)
        return np.full(self.heard.rows, place, np.int16)

    def _sequence(self, node: Sequence, where: Flags) -> Reached:
        reached = self.walk(node.steps[0], where)
        marked = reached.marked.copy()
        for step in node.steps[1:]:
            going = where & reached.done & reached.usable
            later = self.walk(step, going)
            reached.put(going, later)
            marked = marked | (going & later.marked)
        reached.marked = marked
        return reached

    def _fall(self, node: Fallback, where: Flags) -> Reached:
        reached = self.walk(node.steps[0], where)
        for step in node.steps[1:]:
            going = where & reached.done & ~reached.usable
            if going.any():
                later = self.walk(step, going)
                later.marked = np.ones(len(going), np.bool_)
                reached.put(going, later)
        return reached

    def _cascade(self, node: Cascade, where: Flags) -> Reached:
        reached = self.walk(node.steps[0], where)
        for step in node.steps[1:]:
            going = where & reached.done & ~(reached.usable & self._stops(node, reached))
            if not going.any():
                continue
            later = self.walk(step, going)
            # Whoever was not sure enough had a say in what is asked next.
            if not (isinstance(step, Ask) and step.person):
                later.taint = later.taint | np.where(reached.usable, reached.taint, 0).astype(
                    np.uint8
                )
            # One that has no answer leaves the word to the one before, and that is marked.
            kept = going & later.done & ~later.usable & reached.usable
            reached.put(going & ~kept, later)
            reached.marked = reached.marked | kept
        return reached

    def _stops(self, node: Cascade, reached: Reached) -> Flags:
        answer = node.stop.answer(_AnswerRows(reached.scores, reached.confidence))
        holds = answer.values.astype(np.bool_)
        return holds if answer.missing is None else holds & ~answer.missing

    def _parallel(self, node: Parallel, where: Flags) -> Reached:
        parts = [self.walk(step, where) for step in node.steps]
        done = np.array([part.done for part in parts])
        usable = np.array([part.done & part.usable for part in parts])
        counted = usable.sum(axis=0)
        complete = np.asarray(done.all(axis=0), np.bool_)
        if node.first:
            complete |= counted >= node.quorum
        if node.within_ms is not None:
            if self.elapsed_ms >= node.within_ms:
                self.lapsed |= not complete[where].all()
                complete = np.ones(len(complete), np.bool_)
            elif not complete[where].all():
                self._remind(node.within_ms)
        # Where too few can still come, waiting changes nothing.
        complete |= (~done).sum(axis=0) + counted < node.quorum
        scores, confidence = _combined(node, parts, usable)
        enough = counted >= node.quorum
        marked = complete & enough & (counted < len(parts))
        if node.first:
            marked = np.zeros(len(marked), np.bool_)
        taint = np.bitwise_or.reduce(
            np.where(usable, np.array([part.taint for part in parts]), 0), axis=0
        ).astype(np.uint8)
        by = self._answerers(None) if self.following else None
        return Reached(complete, enough, scores, confidence, marked, taint, by)

    def _remind(self, at_ms: int) -> None:
        self.next_ms = at_ms if self.next_ms is None else min(self.next_ms, at_ms)


@dataclass(frozen=True, slots=True)
class _AnswerRows:
    """Answers as the `stop` of a cascade sees them."""

    scores: Scores
    confidence: Scores

    def __len__(self) -> int:
        return len(self.scores)

    def column(self, name: str) -> Column:
        return Column(self.scores if name == "score" else self.confidence)

    def payload(self, row: int) -> Mapping[str, object]:
        raise AssertionError(f"{row}: a stop sees no payload")


def _combined(node: Parallel, parts: list[Reached], usable: Flags) -> tuple[Scores, Scores]:
    """Return score and confidence of what has answered; NaN where nothing has."""
    scores = np.where(usable, np.array([part.scores for part in parts]), 0.0)
    if node.combine == "vote":
        scores = np.where(usable & (scores >= _YES), 1.0, 0.0)
    weights = np.where(usable, np.array(node.weights)[:, None], 0.0)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.clip((weights * scores).sum(axis=0) / total, 0.0, 1.0)
    return score, np.maximum(score, 1.0 - score)
