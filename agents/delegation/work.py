"""Work: the events of a batch, the plan of each, and what was heard of the models so far.

Whoever drives it asks what is due, asks the models, and gives back what they said, until nothing is
due and nothing outstanding. `done` rows can be decided meanwhile. What is not answered within the
patience there is with its event is late: nobody is asked about it any more, whatever its plan says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.budgets.spending import Paid, Payment
from batuta.agents.delegation.heard import ASKED, Heard, Indexes
from batuta.agents.delegation.plans import AGAIN, Node, asked_model, people_of
from batuta.agents.delegation.reached import Flags, Reached
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.verifying import Verifier
from batuta.agents.delegation.walking import Walk
from batuta.agents.models.answers import Answers, answers_of
from batuta.agents.models.port import AnyModel, Matrix, Model, RowModel
from batuta.agents.selection.understood import Understood
from batuta.schemas.errors import FailureKind, LaterError, ModelFailedError, OursError

__all__ = ["UNBILLED", "Asking", "Call", "Driver", "InTurn", "Inputs", "Work", "put_call"]

#: Nobody bills a call that was not made, or that was turned away at the door.
UNBILLED: Final[frozenset[FailureKind]] = frozenset({"breaker_open", "refused", "overloaded"})
#: A million of a currency for one row: nobody means more, and sums of it still are 64 bits long.
_BILL_NANO_MAX: Final = 10**15
_NO_TERMS: Final = Terms()
#: What a model is given about some rows: a matrix, or named values.
Inputs = Matrix | list[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Asking:
    """The events that work is about, beside what models see of them.

    Attributes:
        ids: of each, so that what is drawn for it repeats; may be empty.
        patience_ms: (rows,) how long each may take from now on; None: for ever.
        verifier: runs the checkpoints of the plans; None where they have none.
        payment: how calls are paid for; None where nothing bounds what they cost.
        budgeted: whether something does: then no call is made that nothing pays for.
        understood: chooses plans once a model has answered; None where they are chosen before.
    """

    ids: Sequence[str] = ()
    patience_ms: npt.NDArray[np.int64] | None = None
    verifier: Verifier | None = None
    payment: Payment | None = None
    budgeted: bool = False
    understood: Understood | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One model, asked once about some rows.

    Attributes:
        seed: names the call by its first event, so that what is drawn for it repeats.
        patience_ms: how long it is of use to anybody; None: for ever.
        paid: how it is paid for; None where nothing bounds what it costs.
        again: whether a planner is asked for its second plan.
    """

    model: str
    rows: Indexes
    inputs: Inputs
    seed: str = ""
    patience_ms: int | None = None
    paid: Paid | None = None
    again: bool = False

    @property
    def heard_as(self) -> str:
        """Under which name its answer is kept."""
        return f"{self.model}{AGAIN}" if self.again else self.model


class Work:
    """The delegation of one batch.

    Attributes:
        heard: of the models so far.
        plans: each plan, and the rows that follow it; or that begin with it.
        inputs_of: what a model is given about some rows.
        terms: of each model, by name.
        asking: the events.
        lapsed: whether time, not an answer, ended some of the waiting.
        unpaid: whether some rows wait for what they are paid from, not for an answer.
        next_ms: when, since the beginning, time alone changes something; None: never.
        end_ms: when, since the beginning, time ends all of it at once; None: never; 0: it ends or
            changes some of it before.
    """

    def __init__(
        self,
        heard: Heard,
        plans: list[tuple[Node, Flags]],
        inputs_of: Callable[[str, Indexes, Heard], Inputs],
        terms: Mapping[str, Terms] | None = None,
        asking: Asking | None = None,
    ) -> None:
        self.heard = heard
        self.plans = plans
        self.inputs_of = inputs_of
        self.terms = terms or {}
        self.asking = asking or Asking()
        self.lapsed = False
        self.unpaid = False
        self.next_ms: int | None = None
        self.end_ms: int | None = None
        self.reached = Reached.nothing(heard.rows)
        self.covered = np.zeros(heard.rows, np.bool_)
        for _, where in plans:
            self.covered |= where
        self._people = frozenset(name for node, _ in plans for name in people_of(node))
        patience_ms = self.asking.patience_ms
        self._patience_min_ms = 0
        self._ends_ms: int | None = None
        if patience_ms is not None and len(patience_ms):
            self._patience_min_ms = int(patience_ms.min())
            self._ends_ms = self._patience_min_ms if (patience_ms[0] == patience_ms).all() else 0

    @property
    def done(self) -> bool:
        """Whether nothing more is to be heard of any row."""
        return bool(self.reached.done[self.covered].all())

    def due(self, elapsed_ms: int, refusing: Callable[[str], bool] | None = None) -> list[Call]:
        """Walk the plans; return the calls to make now, and note that they are made.

        Args:
            elapsed_ms: since the work began.
            refusing: says of a model whether it is not to be asked now; its plan goes on at once.
        """
        walk = self._walk(elapsed_ms)
        if (late := self._late(elapsed_ms)) is not None:
            self._give_up(late)
            walk = self._walk(elapsed_ms)
            walk = self._without(walk, lambda _: late, "late")
        if refusing is not None:
            everything = self.covered
            walk = self._without(
                walk,
                lambda name: everything if refusing(asked_model(name)) else None,
                "breaker_open",
            )
        self.next_ms = self._earlier(walk.next_ms)
        self.end_ms = self._ends_ms if walk.next_ms is None else 0
        if self.asking.payment is not None:
            return self._paid(self.asking.payment, walk, elapsed_ms)
        assert not (walk.wanted and self.asking.budgeted), "a budget, and nothing to pay from"
        return [
            self._call(model, np.flatnonzero(w), elapsed_ms) for model, w in walk.wanted.items()
        ]

    def _without(
        self, walk: Walk, given_up: Callable[[str], Flags | None], kind: FailureKind
    ) -> Walk:
        """Walk again until nobody is wanted for rows that it is given up for."""
        while True:
            failed = False
            for model, where in walk.wanted.items():
                rows = given_up(model)
                if rows is not None and (where & rows).any():
                    self.heard.fail(model, np.flatnonzero(where & rows), kind)
                    failed = True
            if not failed:
                return walk
            walk = self._walk(walk.elapsed_ms)

    def _paid(self, payment: Payment, walk: Walk, elapsed_ms: int) -> list[Call]:
        """Return the calls that there is enough for; where there is none, plans go on without."""
        calls: list[Call] = []
        refused = True
        again_ms: int | None = None
        while refused:
            refused, again_ms = False, None
            for model, where in walk.wanted.items():
                given = partial(self._inputs, model)
                admitted = payment.admit(asked_model(model), np.flatnonzero(where), given)
                calls += [
                    self._call(model, paid.rows, elapsed_ms, paid)
                    for paid in admitted.paid
                    if len(paid.rows)
                ]
                again_ms = _sooner(again_ms, admitted.again_ms)
                if len(admitted.refused):
                    self.heard.fail(model, admitted.refused, "budget_spent")
                    refused = True
            if refused:
                walk = self._walk(elapsed_ms)
        self.next_ms = self._earlier(walk.next_ms)
        self.unpaid = again_ms is not None
        if again_ms is not None:
            self.next_ms = _sooner(self.next_ms, elapsed_ms + again_ms)
            self.end_ms = 0
        return calls

    def _walk(self, elapsed_ms: int) -> Walk:
        asking = self.asking
        patience_ms, understood = asking.patience_ms, asking.understood
        walk = Walk(self.heard, elapsed_ms, verifier=asking.verifier, patience_ms=patience_ms)
        plans = self.plans if understood is None else understood.followed(walk, self.covered)
        for node, where in plans:
            self.reached.put(where, walk.walk(node, where))
        if understood is not None:
            self.reached.marked |= understood.unanswered
        self.lapsed |= walk.lapsed
        return walk

    def _inputs(self, model: str, rows: Indexes) -> Inputs:
        return self.inputs_of(model, rows, self.heard)

    def _call(self, name: str, rows: Indexes, elapsed_ms: int, paid: Paid | None = None) -> Call:
        inputs = self._inputs(name, rows)
        self.heard.ask(name, rows)
        ids, patience_ms = self.asking.ids, self.asking.patience_ms
        seed = f"{name}/{ids[int(rows[0])]}" if ids else ""
        left_ms = None if patience_ms is None else int(patience_ms[rows].max()) - elapsed_ms
        model = asked_model(name)
        return Call(model, rows, inputs, seed, left_ms, paid, again=model != name)

    def _late(self, elapsed_ms: int) -> Flags | None:
        """Return which rows there is no patience with any more; None where there are none."""
        patience_ms = self.asking.patience_ms
        if patience_ms is None or elapsed_ms < self._patience_min_ms:
            return None
        late = self._impatient() & (patience_ms <= elapsed_ms)
        if self.unpaid and late.any():
            late &= ~self._put_off(late, elapsed_ms)
        return late if late.any() else None

    def _put_off(self, late: Flags, elapsed_ms: int) -> Flags:
        """Let rows wait on that nobody is asked about since their budget queues; return which."""
        payment, patience_ms = self.asking.payment, self.asking.patience_ms
        assert payment is not None, "nothing is unpaid where nothing is paid for"
        assert patience_ms is not None, "late, and with patience for ever"
        more_ms = payment.patience_ms()
        waiting = late & (more_ms > 0)
        for told in self.heard.told.values():
            waiting &= told.state != ASKED
        patience_ms[waiting] = elapsed_ms + more_ms + self._patience_min_ms
        if waiting.any():
            self._ends_ms = 0
        return waiting

    def _give_up(self, late: Flags) -> None:
        """Wait for nobody's answer to some rows."""
        self.lapsed = True
        for model, told in self.heard.told.items():
            if len(rows := np.flatnonzero(late & (told.state == ASKED))):
                self.heard.fail(model, rows, "late")

    def _earlier(self, at_ms: int | None) -> int | None:
        """Return when time alone changes something: `at_ms`, or the end of a row's patience."""
        patience_ms = self.asking.patience_ms
        if patience_ms is None:
            return at_ms
        waiting = patience_ms[self._impatient()]
        if not len(waiting):
            return at_ms
        return _sooner(at_ms, int(waiting.min()))

    def _impatient(self) -> Flags:
        """Return the rows that wait for models: people have a time of their own."""
        found = self.covered & ~self.reached.done
        for name in self._people:
            if (told := self.heard.told.get(name)) is not None:
                found &= told.state != ASKED
        return found

    def look(self) -> None:
        """Walk the plans and ask no model: what they have come to, and whether people are asked."""
        self._walk(0)

    def take(self, call: Call, answers: Answers, duration_ms: int, attempts: int = 1) -> None:
        """Take an answer; the call was made `attempts` times until it came."""
        answers = self.pay(call, answers, attempts)
        self.heard.take(call.heard_as, call.rows, answers, duration_ms)
        terms = self.terms.get(call.model)
        if terms is not None and (terms.taint or terms.reads):
            self.heard.stain(call.heard_as, call.rows, terms.taint, terms.reads)
        if terms is not None and terms.calibration is not None:
            self.heard.calibrate(call.heard_as, call.rows, terms.calibration)

    def fail(self, call: Call, kind: FailureKind, duration_ms: int = 0, attempts: int = 1) -> None:
        """Note that there is no answer; `attempts` of the call may be billed all the same."""
        self.let_go(call, attempts)
        self.heard.fail(call.heard_as, call.rows, kind, duration_ms)

    def pay(self, call: Call, answers: Answers, attempts: int) -> Answers:
        """Count what a call cost, by its id; return its answers with what is believed of that.

        A bill that cannot be meant, of less than nothing, beyond all measure or in another currency
        than the model's price, counts as that price.
        """
        terms = self.terms.get(call.model, _NO_TERMS)
        if _unbelievable(answers, terms, len(call.rows)):
            most_nano = terms.price_nano * len(call.rows)
            answers = replace(answers, cost_nano=most_nano, currency=terms.currency)
        if call.paid is not None and self.asking.payment is not None:
            self.asking.payment.settle(call.paid, answers.cost_nano, attempts)
        return answers

    def let_go(self, call: Call, attempts: int) -> None:
        """Count the most that a call without answer may have cost; nothing if it was paid before.

        Whoever asks says so at the end of each call, however that came: a call whose answer nobody
        waits for any more was made all the same, and what it reserved for further attempts is free.
        """
        if call.paid is not None and self.asking.payment is not None:
            self.asking.payment.fail(call.paid, attempts)


def _unbelievable(answers: Answers, terms: Terms, rows: int) -> bool:
    """Say whether a call costs what is stated: it bills nothing, or what it cannot mean."""
    # A part of the user's own may say anything.
    cost_nano = cast("object", answers.cost_nano)
    if not cost_nano:
        return bool(terms.price_nano)
    foreign = bool(terms.currency) and answers.currency != terms.currency
    fit = isinstance(cost_nano, int) and 0 < cost_nano <= _BILL_NANO_MAX * max(rows, 1)
    return foreign or not fit


def _sooner(one_ms: int | None, other_ms: int | None) -> int | None:
    """Return the sooner of two times; None is never."""
    return min((at_ms for at_ms in (one_ms, other_ms) if at_ms is not None), default=None)


class Driver(Protocol):
    """Asks models, and gives work what they say."""

    async def drive(self, work: Work) -> None:
        """Bring work to its end.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        ...


class InTurn:
    """Asks one model after the other and waits for each: enough where nothing is slow."""

    def __init__(self, models: Mapping[str, AnyModel], report: Callable[[Exception], None]) -> None:
        """Take the models by name, and who hears of failures."""
        self._models = models
        self._report = report

    async def drive(self, work: Work) -> None:
        """Bring work to its end.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        while calls := work.due(0):
            try:
                for call in calls:
                    await self._ask(work, call)
            finally:
                for call in calls:
                    work.let_go(call, 0)

    async def _ask(self, work: Work, call: Call) -> None:
        try:
            work.take(call, await put_call(self._models[call.model], call), 0)
        except ModelFailedError as failure:
            cause = failure.__cause__
            self._report(cause if isinstance(cause, Exception) else failure)
            work.fail(call, failure.kind, attempts=int(failure.kind not in UNBILLED))
        finally:
            work.let_go(call, 1)


async def put_call(model: AnyModel, call: Call) -> Answers:
    """Put one call to a model.

    Raises:
        ModelFailedError: it has no answer.
        LaterError, OursError: as the model raised them.
    """
    try:
        if isinstance(call.inputs, np.ndarray):
            return answers_of(await cast("Model", model).answer(call.inputs))
        return await cast("RowModel", model).answer_rows(call.inputs)
    except (LaterError, OursError, ModelFailedError):
        raise
    except TimeoutError as failure:
        raise ModelFailedError("timeout", f"{model.name}: {failure}") from failure
    except Exception as failure:  # a model is anybody's code
        raise ModelFailedError("broke", f"{model.name}: {failure!r}") from failure
