"""Checkpoints in the walk over a plan: what an answer must pass before anybody counts on it.

An answer is checked once, and what was checked is what counts afterwards, whatever else a model
says of it later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import orjson

from batuta.agents.delegation.heard import ANSWERED, Heard, Indexes
from batuta.agents.delegation.plans import (
    Ask,
    Checked,
    Node,
    Steered,
    answering,
    lone_ask,
    may_answer,
    models_of,
    people_of,
)
from batuta.agents.delegation.reached import NOBODY, Flags, Reached
from batuta.agents.models.answers import Scores
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.names import Column
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.isolation import Isolation
from batuta.agents.verification.checkpoint import NOT_RUN, cut
from batuta.agents.verification.expressions import CONTRADICTION, contradiction_of
from batuta.agents.verification.port import CheckBatch, text_of
from batuta.agents.verification.remedies import Odds
from batuta.agents.verification.taint import Taint, Taints, names_of
from batuta.agents.verification.trials import FAILED, OPEN, PASSED, VALIDATING, Trials
from batuta.schemas.ingested import Ingested
from batuta.schemas.review import ANSWER_CHARACTERS_MAX, FailedAnswer

__all__ = ["Verifier", "Walking", "answered_by", "failed_answer", "judge", "value_on_trial"]

_REFUSED = 1
_UNHEARD = 2


def _even(at: str, reason: str, remedy: str) -> float:
    """Return what is known of a remedy where nobody counts: nothing."""
    del at, reason, remedy
    return 0.5


class Verifier:
    """Shows checks the answers about one batch of events.

    Attributes:
        events: in order.
        isolation: how checks and repairs are called.
        odds: what has helped so far where answers did not pass.
    """

    def __init__(
        self,
        events: Sequence[Ingested],
        features: Features,
        rows_of: Callable[[Indexes], EventRows],
        isolation: Isolation,
        odds: Odds | None = None,
    ) -> None:
        """Take what was asked about.

        Args:
            events: in order.
            features: of each, as models are shown them.
            rows_of: some of them as expressions see them, before anything was answered.
            isolation: how checks and repairs are called.
            odds: what has helped; None: nobody knows.
        """
        self.events = events
        self._features = features
        self._rows_of = rows_of
        self.isolation = isolation
        self.odds = odds or _even

    def batch(self, node: Checked, rows: Indexes, reached: Reached, heard: Heard) -> CheckBatch:
        """Return the answers of some rows as checks see them."""
        people = frozenset(people_of(node.step))
        models = dict.fromkeys(one for one in models_of(node.step) if one not in people)
        compared = {name: _heard_scores(heard, name, rows) for name in models}
        values = {
            name: [told.values.get(row) for row in rows.tolist()]
            for name, told in heard.told.items()
            if told.values
        }
        standing = _standing(node, rows, reached, heard)
        _let_stand_in(node, rows, reached, heard, _Shown(compared, values, standing))
        if not node.checkpoint.follows:
            standing = values.get(answering(node.step), standing)
        scores, confidence = reached.scores[rows], reached.confidence[rows]
        seen = self._rows_of(rows)
        seen.give("score", Column(scores))
        seen.give("confidence", Column(confidence))
        seen.give(CONTRADICTION, Column(contradiction_of(compared, len(rows))))
        events = [self.events[row] for row in rows.tolist()]
        shown = self._features[rows]
        return CheckBatch(events, scores, confidence, shown, compared, values, seen, standing)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What checks see of models: scores that are compared, and what was answered beside them.

    Attributes:
        standing: what whoever answered has, for each row; empty where that is always the same.
    """

    compared: dict[str, Scores]
    values: dict[str, list[object]]
    standing: list[object]


def _standing(node: Checked, rows: Indexes, reached: Reached, heard: Heard) -> list[object]:
    """Return what was answered by whoever answered for each row; None by no one alone."""
    if not node.checkpoint.follows:
        return []
    assert reached.by is not None, "a checkpoint that follows who answers, and nobody told it"
    by = zip(reached.by[rows].tolist(), rows.tolist(), strict=True)
    names = heard.names
    return [None if one == NOBODY else heard.of(names[one]).values.get(row) for one, row in by]


def answered_by(node: Checked, row: int, trials: Trials) -> str:
    """Return who gave the step's own answer that has failed; of several at once the last one."""
    course = trials.courses.get(row)
    return (course.answered_by if course is not None else "") or answering(node.step)


def _let_stand_in(
    node: Checked, rows: Indexes, reached: Reached, heard: Heard, shown: _Shown
) -> None:
    """Show answers of remedies in the place of the step's own: of one model, so that none agree."""
    trials = heard.trials_of(node.checkpoint)
    places = np.flatnonzero(trials.stands_in[rows] >= 0)
    if not len(places):
        return
    for column in shown.compared.values():
        column[places] = np.nan
    for place in places.tolist():
        row = int(rows[place])
        own, value = answered_by(node, row, trials), value_on_trial(node, row, heard, trials)
        shown.compared.setdefault(own, np.full(len(rows), np.nan))[place] = reached.scores[row]
        shown.values.setdefault(own, [None] * len(rows))[place] = value
        if shown.standing:
            shown.standing[place] = value


def value_on_trial(node: Checked, row: int, heard: Heard, trials: Trials) -> object:
    """Return what was answered beside the score by whoever answers for a checked step."""
    place = int(trials.stands_in[row])
    if place < 0:
        return heard.of(answered_by(node, row, trials)).values.get(row)
    # The plan's own: of several plans behind one checkpoint each corrects its own models.
    if node.checkpoint.remedies.each[place].part is not None:
        mended = trials.courses[row].mended
        return None if mended is None else mended.value
    return heard.of(node.checkpoint.remedies.each[place].asks[0]).values.get(row)


def failed_answer(node: Checked, row: int, heard: Heard, trials: Trials) -> FailedAnswer:
    """Return what a person is shown of an answer that has failed; its course says why."""
    course, score = trials.courses[row], float(trials.scores[row])
    place, value = int(trials.stands_in[row]), value_on_trial(node, row, heard, trials)
    asked = may_answer(node.step) if place < 0 else iter(node.checkpoint.remedies.each[place].asks)
    given = [name for name in asked if name in heard.told and heard.of(name).state[row] == ANSWERED]
    own = answered_by(node, row, trials)
    by = heard.versions[own if own in given else given[-1]] if given else ""
    if place >= 0 and not given:
        by = node.checkpoint.remedies.each[place].name
    text = text_of(value) or ("" if value is None else orjson.dumps(value).decode())
    return FailedAnswer(
        node.checkpoint.name,
        course.failed,
        course.critique,
        by,
        cut(text, ANSWER_CHARACTERS_MAX),
        score if 0.0 <= score <= 1.0 else None,
        names_of(int(trials.taint[row])),
        len(course.tried),
    )


class Walking(Protocol):
    """The walk over a plan, as its checkpoints see it.

    Attributes:
        heard: so far.
        verifier: runs checkpoints.
        following: whether a checkpoint that was met wants to know who has answered for each row.
    """

    heard: Heard
    verifier: Verifier | None
    following: bool

    def walk(self, node: Node, where: Flags) -> Reached:
        """Return what `node` has come to for the rows of `where`."""
        ...

    def left_ms(self, row: int) -> int | None:
        """Return how long an event may still take; None: for ever."""
        ...


def judge(walk: Walking, node: Checked, where: Flags, reached: Reached, trials: Trials) -> None:
    """Check the answers that are new, and hear what validators say of those that have passed."""
    opened = where & reached.done & reached.usable & (trials.state == OPEN)
    if opened.any():
        _check(walk, node, np.flatnonzero(opened), reached, trials)
    if node.checkpoint.validators:
        _validate(walk, node, where & (trials.state == VALIDATING), trials)


def _check(walk: Walking, node: Checked, rows: Indexes, reached: Reached, trials: Trials) -> None:
    """Run the checks of a checkpoint on answers that are new."""
    assert walk.verifier is not None, "a checkpoint, and nobody to run it"
    checks = node.checkpoint.checks
    batch = walk.verifier.batch(node, rows, reached, walk.heard)
    codes, critiques = node.checkpoint.run(batch, walk.verifier.isolation)
    trials.codes[: len(checks), rows] = codes
    trials.codes[len(checks) :, rows] = NOT_RUN
    trials.scores[rows] = batch.scores
    trials.confidence[rows] = batch.confidence
    for row in rows.tolist() if trials.critiques else ():
        trials.critiques.pop(row, None)
    trials.critiques.update({int(rows[place]): said for place, said in critiques.items()})
    fails = (codes != 0).any(axis=0)
    after = VALIDATING if node.checkpoint.validators else PASSED
    trials.state[rows] = np.where(fails, FAILED, after)
    carried = _carried(rows, reached, trials)
    taint = carried
    if any(one.vouches == "agreement" for one in checks):
        # One answer alone, as a remedy's is, agrees with nobody.
        shared = _shared(walk.heard, node, rows) | _steering(walk.heard, node, rows)
        taint = taint & np.where(trials.stands_in[rows] >= 0, 255, shared).astype(np.uint8)
    if any(one.vouches == "all" for one in checks):
        taint = np.zeros_like(taint)
    trials.taint[rows] = np.where(fails, carried | Taint.FAILED_CHECK, taint)
    _cleanse(walk.heard, node, rows[~fails], trials)


def _carried(rows: Indexes, reached: Reached, trials: Trials) -> Taints:
    """Return the taint of answers; one that was made of an answer before carries that one's too."""
    taint = reached.taint[rows]
    if trials.courses:
        for place, row in enumerate(rows.tolist()):
            if (course := trials.courses.get(row)) is not None and course.under_way:
                taint[place] |= course.taint
    return taint


def _validate(walk: Walking, node: Checked, asked: Flags, trials: Trials) -> None:
    """Ask the validators about what has passed the checks; hear what they say."""
    if not asked.any():
        return
    validators = node.checkpoint.validators
    told = [walk.walk(Ask(one.model), asked) for one in validators]
    ready = np.flatnonzero(asked & np.array([one.done for one in told]).all(axis=0))
    first = len(node.checkpoint.checks)
    for place, (validator, said) in enumerate(zip(validators, told, strict=True)):
        usable, refused = said.usable[ready], said.scores[ready] < validator.least
        trials.codes[first + place, ready] = np.where(usable, refused * _REFUSED, _UNHEARD)
        trials.taint[ready] &= np.where(usable & ~refused, validator.taint, 255).astype(np.uint8)
    fails = (trials.codes[first:, ready] != 0).any(axis=0)
    trials.state[ready] = np.where(fails, FAILED, PASSED)
    trials.taint[ready[fails]] |= int(Taint.FAILED_CHECK)
    for row in ready[fails].tolist():
        trials.critiques[row] = "a validator did not accept it"
    _cleanse(walk.heard, node, ready[~fails], trials)


def _shared(heard: Heard, node: Checked, rows: Indexes) -> Taints:
    """Return the labels that every model of a step carries which has answered."""
    shared = np.full(len(rows), 255, np.uint8)
    for name in dict.fromkeys(models_of(node.step)):
        told = heard.of(name)
        answered = told.state[rows] == ANSWERED
        shared &= np.where(answered, told.taint[rows], 255).astype(np.uint8)
    return shared


def _steering(heard: Heard, node: Checked, rows: Indexes) -> Taints:
    """Return the labels of whoever planned a step: that its models agree says nothing of these."""
    found = np.zeros(len(rows), np.uint8)
    for name in node.step.planners if isinstance(node.step, Steered) else ():
        found |= heard.of(name).taint[rows]
    return found


def _cleanse(heard: Heard, node: Checked, rows: Indexes, trials: Trials) -> None:
    """Let later steps read a model's answer with the taint it has left after its check."""
    if (asked := lone_ask(node.step)) is not None:
        heard.of(asked.model).taint[rows] = trials.taint[rows]


def _heard_scores(heard: Heard, name: str, rows: Indexes) -> Scores:
    told = heard.of(name)
    return np.where(told.state[rows] == ANSWERED, told.scores[rows], np.nan)
