"""Waiting: which events of a batch are decided now, and which have to wait for an answer.

An event that no answer came for in time is parked until one comes, or its deadline. Later events of
its key wait behind it, so that decisions about one key keep their order; once it is decided they
are asked about, together. Nobody waits behind an event that waits for a person. A lane reads no
more than its lot has room for; where that is full all the same, whoever has waited longest is given
up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Final

import numpy as np

from batuta.agents.asking_people import (
    ANSWER_GRACE_MS,
    case_id_of,
    heard_by,
    people_asked,
    waits_for,
)
from batuta.agents.budgets.wallet import Wallet
from batuta.agents.delegation.people import Person
from batuta.agents.policy.names import Flags
from batuta.agents.questions import Question, payload, question_of, waiting_key
from batuta.agents.state.parking import Kind, ParkingLot, Step
from batuta.schemas.review import StepAnswer

__all__ = ["Waiting"]

#: So many steps are taken out of the lot in one batch at most, for each reason.
_STEPS_MAX: Final = 2_000


@dataclass
class Waiting:
    """The parking lot of a lane, within one batch.

    Attributes:
        lot: where steps wait.
        now_ms: the batch's clock.
        deadline_ms: how long an event may take from its batch on, whatever it waits for.
        people: who may be asked, by name.
        wallet: pays for models; None where nothing bounds what they cost.
        given_up: steps that had to leave the lot without an answer.
        asked: rows of questions that wait for a person from now on.
    """

    lot: ParkingLot
    now_ms: int
    deadline_ms: int
    people: Mapping[str, Person] = field(default_factory=dict[str, Person])
    wallet: Wallet | None = None
    given_up: list[Step] = field(default_factory=list[Step])
    asked: list[tuple[Question, int, Person]] = field(
        default_factory=list[tuple[Question, int, Person]]
    )
    _going_on: list[Step] = field(default_factory=list[Step])
    _gone: set[str] = field(default_factory=set[str])

    def resumed(self, question: Question, answered: Flags) -> list[int]:
        """Return the rows of a question that are answered and still wait for it, in order."""
        rows: list[int] = []
        heard = (question.asked & answered).tolist()
        for row in compress(range(len(question.events)), heard):
            step_id, key = question.step_ids[row], waiting_key(question.events[row])
            waits = self.lot.get(step_id)
            if waits is None:
                continue
            if waits.kind == "queued" and not self._is_next(step_id, key):
                continue
            rows.append(row)
            if waits.kind != "queued":
                self.lot.resume(step_id)
        return rows

    def hand_over(self, question: Question) -> None:
        """Let rows of an earlier question whose plan asks a person wait for that from now on.

        One that is queued stays so: it is asked about once more when its turn comes. Two questions
        may be about one event, as where it was queued and its turn came: whose answer is later is
        not heard of it any more, for the person was asked already, and may have answered.
        """
        for row, person in people_asked(question.work, self.people).items():
            step_id, key = question.step_ids[row], waiting_key(question.events[row])
            waits = self.lot.get(step_id)
            if row in question.handed or waits is None:
                continue
            question.handed.add(row)
            if waits.kind == "human" or person.name in heard_by(waits):
                continue
            if waits.kind == "queued" and not self._is_next(step_id, key):
                continue
            if waits.kind == "model":
                self.lot.resume(step_id)
            self._park(question, row, person)

    def answered(self, answers: Sequence[StepAnswer]) -> list[tuple[Step, StepAnswer]]:
        """Take out the steps that people have answered; what no step waits for is left out."""
        found: list[tuple[Step, StepAnswer]] = []
        for answer in answers:
            step = self.lot.get(answer.step_id)
            if step is None or step.kind != "human" or waits_for(step)[0] != answer.case_id:
                continue
            self.lot.resume(step.id)
            found.append((step, answer))
        return found

    def going_on(self, question: Question, rows: Flags) -> None:
        """Let some rows that a person has answered wait for whom their plan asks next."""
        asked = people_asked(question.work, self.people)
        for row in compress(range(len(question.events)), rows.tolist()):
            if row in asked:
                self._park(question, row, asked[row])
            elif self.lot.blocks(waiting_key(question.events[row])):
                self._park(question, row, "queued")
            else:
                self._going_on.append(self._park(question, row, "model"))

    def waits(self, question: Question, rows: Flags) -> bool:
        """Say whether any of some rows of a question is parked still, and not for a person."""
        left = (row for row in np.flatnonzero(rows).tolist() if row not in question.handed)
        return any(self.lot.get(question.step_ids[row]) is not None for row in left)

    def admitted(self, question: Question, answered: Flags) -> list[int]:
        """Return the rows of a batch's own question that are decided now; park the others."""
        if not self.lot.entries() and answered.all() and question.asked.all():
            return list(range(len(question.events)))
        rows: list[int] = []
        heard = (question.asked & answered).tolist()
        people = people_asked(question.work, self.people)
        for row, event in enumerate(question.events):
            key = waiting_key(event)
            # What is given up is decided behind these rows: what follows it in its line is not.
            blocked = self.lot.blocks(key) or key in self._gone
            if heard[row] and not blocked:
                rows.append(row)
            elif blocked or not question.asked[row]:
                # What it waited for may have gone since: nobody was asked about it all the same.
                self._park(question, row, "queued")
            else:
                self._park(question, row, people.get(row, "model"))
        return rows

    def expired(self) -> list[Step]:
        """Take out the steps whose deadline has come; who waits for a budget's window waits on."""
        return [one for one in self.lot.expire(self.now_ms, _STEPS_MAX) if not self._put_off(one)]

    def _put_off(self, step: Step) -> bool:
        """Let a step wait on where its budget has begun to queue since it was parked."""
        if self.wallet is None or step.kind == "human":
            return False
        more_ms = self.wallet.patience_ms(question_of([step], self.now_ms).events)
        if more_ms:
            self._wait(replace(step, deadline_ms=self.now_ms + more_ms + self.deadline_ms))
        return more_ms > 0

    def to_ask(self, *, revived: bool) -> list[Step]:
        """Return the steps that a model is to be asked about now, and let them wait for it.

        Args:
            revived: nobody remembers what was asked before.
        """
        asked = self.lot.waiting("model") if revived else []
        # Behind the first of its key the others wait, also those that are not taken out yet: these
        # would be free otherwise, and taken out and asked about in each batch anew.
        headed: set[str] = set()
        for step in self.lot.free(_STEPS_MAX):
            if step.key in headed:
                self._wait(step)
            elif step.deadline_ms <= self.now_ms:
                self.given_up.append(step)
                continue
            else:
                headed.add(step.key)
                self._wait(replace(step, kind="model"))
            asked.append(step)
        return asked if revived else [*asked, *self._going_on]

    def _is_next(self, step_id: str, key: str) -> bool:
        """Take a queued step out if it is the next of its key."""
        step = self.lot.take_next(key)
        if step is None:
            return False
        if step.id == step_id:
            return True
        self._wait(step)
        return False

    def _park(self, question: Question, row: int, waits: "Person | Kind") -> Step:
        """Park one row behind a model, other rows, or a person; return its step."""
        event, step_id = question.events[row], question.step_ids[row]
        while self.lot.get(step_id) is not None:
            # The same event again, by a redrive: it waits as well.
            step_id = question.step_ids[row] = f"{step_id}'"
        key = waiting_key(event)
        if isinstance(waits, Person):
            self.asked.append((question, row, waits))
            question.handed.add(row)
            case_id = case_id_of(waits, step_id, event.event_time_ms)
            content = payload(question, row, (case_id, waits.name))
            deadline_ms = self.now_ms + waits.sla_ms + ANSWER_GRACE_MS
            step = Step(step_id, key, "human", deadline_ms, content)
        else:
            step = Step(step_id, key, waits, self._deadline_ms(), payload(question, row))
        self._wait(step)
        return step

    def _wait(self, step: Step) -> None:
        if (given_up := self.lot.park(step)) is not None:
            self.given_up.append(given_up)
            self._gone.add(given_up.key)

    def _deadline_ms(self) -> int:
        return self.now_ms + self.deadline_ms
