"""Checkpoints in the walk over a plan: what an answer must pass before anybody counts on it.

An answer is checked once, and what was checked is what counts afterwards, whatever else a model
says of it later. One that fails is no answer: fallback, cascade and quorum go on by their rule.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from batuta.agents.delegation.heard import ANSWERED, Heard, Indexes
from batuta.agents.delegation.plans import Ask, Checked, Node, models_of, people_of
from batuta.agents.delegation.reached import Flags, Reached
from batuta.agents.models.answers import Scores
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.names import Column
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.isolation import Isolation
from batuta.agents.verification.expressions import CONTRADICTION, contradiction_of
from batuta.agents.verification.port import CheckBatch
from batuta.agents.verification.taint import Taint, Taints
from batuta.agents.verification.trials import FAILED, OPEN, PASSED, VALIDATING, Trials
from batuta.schemas.ingested import Ingested

__all__ = ["Verifier", "walk_checked"]

_REFUSED = 1
_UNHEARD = 2


class Verifier:
    """Shows checks the answers about one batch of events."""

    def __init__(
        self,
        events: Sequence[Ingested],
        features: Features,
        rows_of: Callable[[Indexes], EventRows],
        isolation: Isolation,
    ) -> None:
        """Take what was asked about.

        Args:
            events: in order.
            features: of each, as models are shown them.
            rows_of: some of them as expressions see them, before anything was answered.
            isolation: how checks are called.
        """
        self._events = events
        self._features = features
        self._rows_of = rows_of
        self.isolation = isolation

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
        scores, confidence = reached.scores[rows], reached.confidence[rows]
        seen = self._rows_of(rows)
        seen.give("score", Column(scores))
        seen.give("confidence", Column(confidence))
        seen.give(CONTRADICTION, Column(contradiction_of(compared, len(rows))))
        events = [self._events[row] for row in rows.tolist()]
        return CheckBatch(events, scores, confidence, self._features[rows], compared, values, seen)


class Walking(Protocol):
    """The walk over a plan, as its checkpoints see it.

    Attributes:
        heard: so far.
        verifier: runs checkpoints.
    """

    heard: Heard
    verifier: Verifier | None

    def walk(self, node: Node, where: Flags) -> Reached:
        """Return what `node` has come to for the rows of `where`."""
        ...


def walk_checked(walk: Walking, node: Checked, where: Flags) -> Reached:
    """Return what a checked step has come to: an answer that has passed, or none."""
    reached = walk.walk(node.step, where)
    trials = walk.heard.trials_of(node.checkpoint)
    opened = where & reached.done & reached.usable & (trials.state == OPEN)
    if opened.any():
        _check(walk, node, np.flatnonzero(opened), reached, trials)
    if node.checkpoint.validators:
        _validate(walk, node, where & (trials.state == VALIDATING), trials)
    passed, failed = trials.state == PASSED, trials.state == FAILED
    reached.done = reached.done & (~reached.usable | passed | failed)
    reached.usable = reached.usable & passed
    np.copyto(reached.scores, trials.scores, where=passed)
    np.copyto(reached.confidence, trials.confidence, where=passed)
    np.copyto(reached.taint, trials.taint, where=passed | failed)
    return reached


def _check(walk: Walking, node: Checked, rows: Indexes, reached: Reached, trials: Trials) -> None:
    """Run the checks of a checkpoint on answers that are new."""
    assert walk.verifier is not None, "a checkpoint, and nobody to run it"
    checks = node.checkpoint.checks
    batch = walk.verifier.batch(node, rows, reached, walk.heard)
    codes, critiques = node.checkpoint.run(batch, walk.verifier.isolation)
    trials.codes[: len(checks), rows] = codes
    trials.scores[rows] = batch.scores
    trials.confidence[rows] = batch.confidence
    trials.critiques.update({int(rows[place]): said for place, said in critiques.items()})
    fails = (codes != 0).any(axis=0)
    after = VALIDATING if node.checkpoint.validators else PASSED
    trials.state[rows] = np.where(fails, FAILED, after)
    taint = reached.taint[rows]
    if any(one.vouches == "agreement" for one in checks):
        taint = taint & _shared(walk.heard, node, rows)
    if any(one.vouches == "all" for one in checks):
        taint = np.zeros_like(taint)
    trials.taint[rows] = np.where(fails, reached.taint[rows] | Taint.FAILED_CHECK, taint)
    _cleanse(walk.heard, node, rows[~fails], trials)


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


def _cleanse(heard: Heard, node: Checked, rows: Indexes, trials: Trials) -> None:
    """Let later steps read a model's answer with the taint it has left after its check."""
    if isinstance(node.step, Ask):
        heard.of(node.step.model).taint[rows] = trials.taint[rows]


def _heard_scores(heard: Heard, name: str, rows: Indexes) -> Scores:
    told = heard.of(name)
    return np.where(told.state[rows] == ANSWERED, told.scores[rows], np.nan)
