"""Correcting: checked steps in the walk over a plan, and what is tried where an answer fails.

An answer that a checkpoint has not let pass is no answer: fallback, cascade and quorum go on by
their rule. Before that the remedies of the checkpoint are tried, one after the other, each within
the same walk as the failure it follows: so rows of a batch never wait for each other, and what is
slow is parked as any slow call is. What comes of a remedy passes the same checkpoint again. All
that an attempt needs to go on stands in its `Course`, which is parked with the event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import orjson

from batuta.agents.delegation.heard import ANSWERED
from batuta.agents.delegation.plans import (
    Ask,
    Checked,
    checked_within,
    may_answer,
    models_of,
)
from batuta.agents.delegation.reached import NOBODY, Flags, Reached
from batuta.agents.delegation.verifying import (
    Walking,
    answered_by,
    failed_answer,
    judge,
    value_on_trial,
)
from batuta.agents.models.answers import Answers
from batuta.agents.verification.checkpoint import cut
from batuta.agents.verification.course import Course, Mended
from batuta.agents.verification.remedies import Remedy, RepairBatch
from batuta.agents.verification.taint import Taint
from batuta.agents.verification.trials import FAILED, OPEN, PASSED, Trials
from batuta.schemas.decision import Corrected, Correction

__all__ = ["ASKED_BEFORE", "NO_ANSWER", "NO_TIME", "REMEDY_BROKE", "walk_checked"]

#: Why an attempt was not made: the event has not the time for it.
NO_TIME: Final = "no_time"
#: Nor one whose answer would be one that has failed: its model was asked the same before.
ASKED_BEFORE: Final = "asked_before"
#: Why an attempt failed: a repair raised, hung or answered nonsense; somebody did not answer.
REMEDY_BROKE: Final = "remedy_broke"
NO_ANSWER: Final = "no_answer"
#: Failures of models that were not asked at all.
_NOT_TRIED: Final = frozenset({"budget_spent", "breaker_open", "overloaded", "late", NO_TIME})


def walk_checked(walk: Walking, node: Checked, where: Flags) -> Reached:
    """Return what a checked step has come to: an answer that has passed, or none."""
    trials = walk.heard.trials_of(node.checkpoint)
    _tell(walk, node, where, trials)
    walk.following |= node.checkpoint.follows
    reached = walk.walk(node.step, where & (trials.stands_in < 0))
    if not node.checkpoint.remedies.each:
        judge(walk, node, where, reached, trials)
    else:
        correcting = _Correcting(walk, node, reached, trials)
        going = where
        while going.any():
            correcting.answer(going)
            judge(walk, node, going, reached, trials)
            going = correcting.begun(going)
    passed, failed = trials.state == PASSED, trials.state == FAILED
    reached.done = reached.done & (~reached.usable | passed | failed)
    reached.usable = reached.usable & passed
    np.copyto(reached.scores, trials.scores, where=passed | failed)
    np.copyto(reached.confidence, trials.confidence, where=passed | failed)
    np.copyto(reached.taint, trials.taint, where=passed | failed)
    if failed.any():
        # Whoever takes the answer later all the same, an action that carries it, must know.
        heard = walk.heard.told
        for told in (heard[name] for name in may_answer(node.step) if name in heard):
            told.taint[failed & (told.state == ANSWERED)] |= np.uint8(Taint.FAILED_CHECK)
    return reached


@dataclass
class _Correcting:
    """The remedies of one checkpoint in one walk.

    Attributes:
        reached: what the step has come to, and what remedies have in its place.
    """

    walk: Walking
    node: Checked
    reached: Reached
    trials: Trials
    _again: bool = False
    #: What is to be repaired by rules: rows and what was answered, by the place of the remedy.
    _broken: dict[int, list[tuple[int, object]]] = field(
        default_factory=dict[int, list[tuple[int, object]]]
    )

    # What is on trial

    def answer(self, where: Flags) -> None:
        """Put the answers that are on trial into what was reached."""
        if self._again:
            _tell(self.walk, self.node, where, self.trials)
            # Where a remedy's answer is on trial, nobody of the step is asked for it.
            own = where & (self.trials.stands_in < 0)
            self.reached.put(own, self.walk.walk(self.node.step, own))
        self._again = True
        stands_in = self.trials.stands_in
        if not (where & (stands_in >= 0)).any():
            return
        for place, remedy in enumerate(self.node.checkpoint.remedies.each):
            rows = where & (stands_in == place)
            if not rows.any():
                continue
            if remedy.part is not None:
                self._put_mended(np.flatnonzero(rows).tolist())
                continue
            person = remedy.kind == "human"
            other = self.walk.walk(Ask(remedy.asks[0], person=person), rows)
            other.marked = np.ones(len(rows), np.bool_)
            self.reached.put(rows, other)
            if person:
                self._accept(rows & other.done & other.usable)

    def _put_mended(self, rows: Sequence[int]) -> None:
        reached = self.reached
        for row in rows:
            mended = self.trials.courses[row].mended
            score = np.nan if mended is None else mended.score
            reached.done[row] = reached.marked[row] = True
            reached.usable[row] = 0.0 <= score <= 1.0
            reached.scores[row] = score
            reached.confidence[row] = np.nan if mended is None else mended.confidence
            reached.taint[row] = 0
            if reached.by is not None:
                own = answered_by(self.node, row, self.trials)
                reached.by[row] = self.walk.heard.names.index(own)

    def _accept(self, rows: Flags) -> None:
        """Let people's answers count: nobody checks them."""
        new = rows & (self.trials.state == OPEN)
        np.copyto(self.trials.state, PASSED, where=new)
        np.copyto(self.trials.scores, self.reached.scores, where=new)
        np.copyto(self.trials.confidence, self.reached.confidence, where=new)
        np.copyto(self.trials.taint, self.reached.taint, where=new)

    # From one attempt to the next

    def begun(self, where: Flags) -> Flags:
        """End the attempts that are through, begin the next ones; return the rows of these."""
        found = np.zeros(len(where), np.bool_)
        for row in self._through(where):
            course = self.trials.courses.setdefault(row, Course())
            if course.under_way:
                self._end(row, course)
            if self.trials.state[row] == PASSED:
                continue
            if self.trials.state[row] == FAILED:
                course.failed = self.trials.reasons(row)
                course.critique = self._critique(row, course)
                self._note_answerer(row, course)
            if (place := self._next(row, course)) is None:
                course.ended = True
                self.trials.state[row], self.trials.stands_in[row] = FAILED, -1
                continue
            if self.node.checkpoint.remedies.each[place].part is not None:
                on_trial = value_on_trial(self.node, row, self.walk.heard, self.trials)
                self._broken.setdefault(place, []).append((row, on_trial))
            self._begin(row, course, place)
            found[row] = True
        for place, broken in self._broken.items():
            self._mend(self.node.checkpoint.remedies.each[place], broken)
        self._broken.clear()
        return found

    def _through(self, where: Flags) -> list[int]:
        """Return the rows whose answer has failed, or whose attempt has come to its end."""
        state, courses, reached = self.trials.state, self.trials.courses, self.reached
        failed = np.flatnonzero(where & (state == FAILED)).tolist()
        rows = [row for row in failed if row not in courses or not courses[row].ended]
        for row, course in courses.items():
            silent = state[row] == OPEN and reached.done[row] and not reached.usable[row]
            if course.under_way and where[row] and (silent or state[row] == PASSED):
                rows.append(row)
        return rows

    def _note_answerer(self, row: int, course: Course) -> None:
        """Note whose answer it is that has failed, where it is the step's own."""
        by = self.reached.by
        if self.trials.stands_in[row] < 0 and by is not None:
            place = int(by[row])
            course.answered_by = "" if place == NOBODY else self.walk.heard.names[place]

    def _critique(self, row: int, course: Course) -> str:
        said = self.trials.critiques.get(row, "")
        reasons = ", ".join(course.failed)
        return cut(f"{reasons}: {said}" if said else reasons)

    def _next(self, row: int, course: Course) -> int | None:
        """Return the place of the remedy to try now, None where none is left; note what is not."""
        remedies, at = self.node.checkpoint.remedies, self.node.checkpoint.name
        assert self.walk.verifier is not None, "a checkpoint, and nobody to run it"
        odds, reason = self.walk.verifier.odds, course.failed[0]
        while True:
            place = remedies.next(course.tried, at, reason, odds)
            if place is None:
                return None
            remedy = remedies.each[place]
            course.remedy, course.odds = remedy.name, odds(at, reason, remedy.name)
            why = ASKED_BEFORE if self._was_asked(remedy, row) else ""
            if not why and not self._misses(remedy, row):
                return place
            self._note(course, "skipped", why or NO_TIME)

    def _was_asked(self, remedy: Remedy, row: int) -> bool:
        """Say whether a remedy's answer has been on trial already; a critique makes it another."""
        if not remedy.stands_in or not remedy.asks or remedy.told:
            return False
        (name,) = remedy.asks
        told = self.walk.heard.told.get(name)
        asked = told is not None and told.state[row] >= ANSWERED
        return asked and name in may_answer(self.node.step)

    def _misses(self, remedy: Remedy, row: int) -> bool:
        """Say whether a remedy takes longer than its event has time; people have their own."""
        left_ms = self.walk.left_ms(row)
        if left_ms is None or remedy.kind == "human":
            return False
        needs_ms = remedy.needs_ms
        if not needs_ms and remedy.kind == "retry":
            needs_ms = self._took_ms(remedy, row)
        return needs_ms > left_ms

    def _took_ms(self, remedy: Remedy, row: int) -> int:
        told = (self.walk.heard.told.get(name) for name in remedy.asks)
        return sum(int(one.duration_ms[row]) for one in told if one is not None)

    def _begin(self, row: int, course: Course, place: int) -> None:
        """Begin an attempt: who is to answer again is asked again, with the critique."""
        heard, trials = self.walk.heard, self.trials
        remedy = self.node.checkpoint.remedies.each[place]
        asks_person = remedy.kind == "human"
        course.shown = failed_answer(self.node, row, heard, trials) if asks_person else None
        made_of_it = remedy.kind == "retry" or remedy.part is not None or remedy.told
        course.taint = int(trials.taint[row]) & ~Taint.FAILED_CHECK if made_of_it else 0
        again = remedy.kind == "retry" or remedy.told
        course.kept = heard.put_aside(remedy.asks, row) if again else {}
        heard.put_aside(self._judges, row)
        for inner in checked_within(self.node.step) if remedy.kind == "retry" else ():
            if set(remedy.asks) & set(models_of(inner.step)):
                heard.put_aside([one.model for one in inner.checkpoint.validators], row)
                heard.trials_of(inner.checkpoint).open_again(row)
        course.spent_nano = heard.spent_nano((*remedy.asks, *self._judges), row)
        course.under_way, course.mended = True, None
        trials.state[row] = OPEN
        trials.stands_in[row] = place if remedy.stands_in else -1

    @property
    def _judges(self) -> tuple[str, ...]:
        return tuple(one.model for one in self.node.checkpoint.validators)

    # Repairs by rules

    def _mend(self, remedy: Remedy, broken: Sequence[tuple[int, object]]) -> None:
        """Let a part repair answers; where it breaks, nothing is repaired."""
        verifier, courses = self.walk.verifier, self.trials.courses
        assert verifier is not None, "a checkpoint, and nobody to run it"
        assert remedy.part is not None, "a repair without its part"
        rows = [row for row, _ in broken]
        batch = RepairBatch(
            [verifier.events[row] for row in rows],
            [value for _, value in broken],
            self.trials.scores[rows],
            [courses[row].failed for row in rows],
            [courses[row].critique for row in rows],
        )
        part = remedy.part
        try:
            mended = _mended(verifier.isolation.run(remedy.name, lambda: part.repair(batch)), rows)
        except Exception as failure:  # noqa: BLE001 - a repair is anybody's code
            verifier.isolation.report(remedy.name, failure)
            return
        for row, one in zip(rows, mended, strict=True):
            courses[row].mended = one

    # What became of an attempt

    def _end(self, row: int, course: Course) -> None:
        """Note what became of an attempt; who has not answered better keeps the answer before."""
        state = self.trials.state[row]
        course.under_way = False
        if state == PASSED:
            self._note(course, "passed", "", row)
            self._hand_on(row)
        elif state == FAILED:
            self._note(course, "failed", self.trials.reason(row), row)
        else:
            why = self._silence(row, course)
            self._note(course, "skipped" if why in _NOT_TRIED else "failed", why, row)
            self.walk.heard.put_back(row, course.kept)
            self.trials.stands_in[row] = -1
        course.kept = {}

    def _silence(self, row: int, course: Course) -> str:
        """Return why there is no answer."""
        remedy = _named(self.node, course.remedy)
        if remedy is None or remedy.part is not None:
            return REMEDY_BROKE
        told = (self.walk.heard.told.get(name) for name in remedy.asks)
        found = (one.failures.get(row) for one in told if one is not None)
        return next((kind for kind in found if kind is not None), NO_ANSWER)

    def _note(self, course: Course, result: Corrected, why: str, row: int | None = None) -> None:
        """Write an attempt down; one that was never begun has no row."""
        remedy, heard = _named(self.node, course.remedy), self.walk.heard
        found = Correction(
            self.node.checkpoint.name,
            len(course.tried) + 1,
            course.remedy,
            course.failed,
            result,
            why,
            critique=course.critique,
            odds=course.odds,
        )
        if row is not None and remedy is not None and result != "skipped":
            asked = (*remedy.asks, *self._judges)
            score = float(self.reached.scores[row])
            found = found._replace(
                model=_version(remedy, heard.versions),
                score=score if 0.0 <= score <= 1.0 else None,
                duration_ms=self._took_ms(remedy, row),
                cost_nano=heard.spent_nano(asked, row) - course.spent_nano,
            )
            if found.cost_nano:
                told = (heard.told[name].currency for name in asked if name in heard.told)
                found = found._replace(currency=next(filter(None, told), ""))
        course.tried.append(found)

    def _hand_on(self, row: int) -> None:
        """Let later steps read the answer that stands for the step's own, and know whose it is."""
        place = int(self.trials.stands_in[row])
        remedy = self.node.checkpoint.remedies.each[place] if place >= 0 else None
        told = self.walk.heard.of(answered_by(self.node, row, self.trials))
        if remedy is None or remedy.kind == "human" or told.state[row] != ANSWERED:
            return
        told.values[row] = value_on_trial(self.node, row, self.walk.heard, self.trials)
        told.scores[row] = self.trials.scores[row]
        told.confidence[row] = self.trials.confidence[row]
        told.taint[row] = self.trials.taint[row]
        told.former[row] = _version(remedy, self.walk.heard.versions)
        if remedy.asks:
            told.evidence[row] = self.walk.heard.of(remedy.asks[0]).evidence.get(row, "")


def _tell(walk: Walking, node: Checked, where: Flags, trials: Trials) -> None:
    """Tell who is to correct an answer what is wrong with it; checkpoints within tell after it.

    In each walk, by the plan's own remedies: where the work was parked nobody has heard of it, and
    of several plans behind one checkpoint each is corrected by its own models.
    """
    for row, course in trials.courses.items():
        remedy = _named(node, course.remedy) if where[row] and course.under_way else None
        for model in remedy.told if remedy is not None else ():
            walk.heard.of(model).critiques[row] = course.critique


def _named(node: Checked, name: str) -> Remedy | None:
    return next((one for one in node.checkpoint.remedies.each if one.name == name), None)


def _version(remedy: Remedy, versions: Mapping[str, str]) -> str:
    return versions[remedy.asks[-1]] if remedy.asks else remedy.name


def _mended(answers: Answers, rows: Sequence[int]) -> list[Mended]:
    """Return what a part has made of answers.

    Raises:
        TypeError, ValueError: it is no answer to each, or cannot be kept.
    """
    scores = np.asarray(answers.scores, np.float64)
    if scores.shape != (len(rows),) or (answers.values and len(answers.values) != len(rows)):
        raise ValueError(f"{scores.shape} scores and {len(answers.values)} values of {len(rows)}")
    orjson.dumps(list(answers.values))
    sure = np.maximum(scores, 1.0 - scores) if answers.confidence is None else answers.confidence
    values: Sequence[object] = answers.values or [None] * len(rows)
    each = zip(scores.tolist(), np.asarray(sure).tolist(), values, strict=True)
    return [Mended(score, confidence, value) for score, confidence, value in each]
