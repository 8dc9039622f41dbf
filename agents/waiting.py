"""Waiting: which events of a batch are decided now, and which have to wait for an answer.

An event that no answer came for in time is parked until one comes, or its deadline. Later events of
its key wait behind it, so that decisions about one key keep their order; once it is decided they
are asked about, together. Whoever has waited longest is given up where the lot is full.
"""

from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Final

from batuta.agents.policy.names import Flags
from batuta.agents.questions import Question, payload, waiting_key
from batuta.agents.state.parking import Kind, ParkingLot, Step

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
        given_up: steps that had to leave the lot without an answer.
    """

    lot: ParkingLot
    now_ms: int
    deadline_ms: int
    given_up: list[Step] = field(default_factory=list[Step])

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

    def waits(self, question: Question, rows: Flags) -> bool:
        """Say whether any of some rows of a question is parked still."""
        ids = compress(question.step_ids, rows.tolist())
        return any(self.lot.get(step_id) is not None for step_id in ids)

    def admitted(self, question: Question, answered: Flags) -> list[int]:
        """Return the rows of a batch's own question that are decided now; park the others."""
        if not self.lot.entries() and answered.all() and question.asked.all():
            return list(range(len(question.events)))
        rows: list[int] = []
        heard = (question.asked & answered).tolist()
        for row, event in enumerate(question.events):
            blocked = self.lot.blocks(waiting_key(event))
            if heard[row] and not blocked:
                rows.append(row)
            else:
                # What it waited for may have gone since: nobody was asked about it all the same.
                self._park(question, row, queued=blocked or not question.asked[row])
        return rows

    def expired(self) -> list[Step]:
        """Take out the steps whose deadline has come."""
        return self.lot.expire(self.now_ms, _STEPS_MAX)

    def to_ask(self, *, revived: bool) -> list[Step]:
        """Return the steps that a model is to be asked about now, and let them wait for it.

        Args:
            revived: nobody remembers what was asked before.
        """
        asked = self.lot.waiting("model") if revived else []
        freed = self.lot.free(_STEPS_MAX)
        for step in freed:
            if self.lot.blocks(step.key):
                self._wait(step)
            elif step.deadline_ms <= self.now_ms:
                self.given_up.append(step)
                continue
            else:
                self._wait(replace(step, kind="model"))
            asked.append(step)
        return asked

    def _is_next(self, step_id: str, key: str) -> bool:
        """Take a queued step out if it is the next of its key."""
        step = self.lot.take_next(key)
        if step is None:
            return False
        if step.id == step_id:
            return True
        self._wait(step)
        return False

    def _park(self, question: Question, row: int, *, queued: bool) -> None:
        event, step_id = question.events[row], question.step_ids[row]
        while self.lot.get(step_id) is not None:
            # The same event again, by a redrive: it waits as well.
            step_id = question.step_ids[row] = f"{step_id}'"
        content = payload(question, row)
        kind: Kind = "queued" if queued else "model"
        self._wait(Step(step_id, waiting_key(event), kind, self._deadline_ms(), content))

    def _wait(self, step: Step) -> None:
        if (given_up := self.lot.park(step)) is not None:
            self.given_up.append(given_up)

    def _deadline_ms(self) -> int:
        return self.now_ms + self.deadline_ms
