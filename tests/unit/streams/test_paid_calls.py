"""Every call that reaches a model is paid for: asked again, twice, in vain, to correct or to judge.

A counting model says what it was really asked; the purse must have counted as much at least, and
keep nothing for a call that is over.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from batuta.agents.budgets.purse import Purse
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.budgets.spending import Payment, Spending, Tariff
from batuta.agents.delegation.heard import Heard
from batuta.agents.delegation.plans import Ask, Cascade, Checked, Fallback, Parallel
from batuta.agents.delegation.plans import Sequence as InSequence
from batuta.agents.delegation.retrying import RetryRule
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.verifying import Verifier
from batuta.agents.delegation.work import Asking, Work
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Names
from batuta.agents.understanding.isolation import DIRECT
from batuta.agents.verification.checkpoint import Checkpoint, Validator
from batuta.agents.verification.remedies import Remedies, Remedy
from batuta.schemas.errors import LaterError, ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.lease import LeaseGrant
from batuta.streams.at_once import AtOnce
from batuta.streams.rehearsal.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batuta.agents.delegation.plans import Node
    from batuta.agents.models.port import Matrix, Scores

ROOT: Final = Path(__file__).parents[3]
PRICE: Final = 100
ROWS: Final = 3
NAMES: Final = ("a", "b", "judge")
LIMIT: Final = 1_000_000
NOW_MS: Final = 1_700_006_400_000
DAY_MS: Final = 86_400_000


class Counting:
    """A model whose calls take and end as a list says; it counts the rows it was asked about."""

    inputs: tuple[str, ...] = ("x",)

    def __init__(self, name: str, *ends: int | Exception) -> None:
        self.name, self.version = name, f"{name}@0"
        self.ends = list(ends) or [5]
        self.calls = self.rows = 0

    async def answer(self, inputs: Matrix) -> Scores:
        end = self.ends[min(self.calls, len(self.ends) - 1)]
        self.calls += 1
        if isinstance(end, ModelFailedError) and end.kind == "overloaded":
            raise end  # nobody bills what was turned away
        self.rows += len(inputs)
        if isinstance(end, Exception):
            raise end
        await asyncio.sleep(end / 1000)
        return np.full(len(inputs), 0.9)


class Desk:
    """A purse with one lease, and models that are paid from it."""

    def __init__(self, loop: VirtualLoop, terms: Terms, *models: Counting) -> None:
        self.loop = loop
        self.models = {one.name: one for one in models}
        terms = replace(terms, price_nano=PRICE, currency="EUR")
        self.terms = dict.fromkeys(self.models, terms)
        attempts = (1 + (terms.retry.times if terms.retry else 0)) * (2 if terms.hedge else 1)
        self.rule = rule = BudgetRule("daily", LIMIT, "EUR")
        tariffs = {name: Tariff(PRICE, attempts=attempts) for name in self.models}
        self.spending = Spending("desk@1", (rule,), tariffs, ())
        self.purse = self.leased(LIMIT)
        self.driver = AtOnce(self.models, self.terms)

    def leased(self, amount_nano: int, rung: str = "") -> Purse:
        """Return a purse whose owner has answered its first request."""
        purse, until_ms = Purse((self.rule,)), NOW_MS + DAY_MS
        purse.table.begin()
        (request,) = purse.tend(("daily",), 0, NOW_MS)
        grant = LeaseGrant("daily", 0, request.number, amount_nano, until_ms, rung, LIMIT, LIMIT)
        purse.take([grant], NOW_MS)
        purse.table.changes(NOW_MS)
        purse.table.commit()
        purse.opened([grant])
        return purse

    def work(self, plan: Node, patience_ms: int | None = None) -> Work:
        events = [Ingested(f"e{n}", "k", "k", 0, 0, "default", {"x": 1.0}, {}) for n in range(ROWS)]
        matrix = np.ones((ROWS, 1), np.float32)
        verifier = Verifier(
            events,
            np.ones((ROWS, 1)),
            lambda rows: EventRows([events[r] for r in rows.tolist()], {}),
            DIRECT,
        )
        patience = None if patience_ms is None else np.full(ROWS, patience_ms, np.int64)
        asking = Asking(
            [one.event_id for one in events],
            patience,
            verifier,
            Payment(self.spending, self.purse, events),
            budgeted=True,
        )
        heard = Heard(ROWS, {name: one.version for name, one in self.models.items()})
        return Work(
            heard,
            [(plan, np.ones(ROWS, np.bool_))],
            lambda _, rows, __: matrix[rows],
            self.terms,
            asking,
        )

    def drive(self, plan: Node, patience_ms: int | None = None) -> Work:
        work = self.work(plan, patience_ms)
        self.loop.run_until_complete(self.driver.drive(work))
        self.loop.run_until_complete(asyncio.sleep(60))
        return work

    @property
    def used_nano(self) -> int:
        """What the purse gives back as spent when its window turns, held or counted; once."""
        self.purse.table.begin()
        (request,) = self.purse.tend((), 0, NOW_MS + DAY_MS)
        ((_, spent_nano),) = request.closed
        return spent_nano

    @property
    def owed_nano(self) -> int:
        """What the models were really asked for."""
        return PRICE * sum(one.rows for one in self.models.values())


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(calls_max=100_000)
    yield loop
    loop.close()


def broken() -> ModelFailedError:
    return ModelFailedError("timeout", "late")


def busy() -> ModelFailedError:
    return ModelFailedError("overloaded", "answered 429")


SURE: Final = Expression(
    "confidence > 0.99", Names({"score": "double", "confidence": "double"}), ("bool",)
)
JUDGED: Final = Checked(Ask("a"), Checkpoint("models", (), (Validator("judge", 0.5),)))
REMEDIES: Final = Remedies(
    (Remedy("retry", "retry", asks=("a",)), Remedy("model", "model:b", asks=("b",)))
)
CORRECTED: Final = Checked(
    Ask("a"), Checkpoint("models", (), (Validator("judge", 0.95),), remedies=REMEDIES)
)
BOTH: Final = Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), 1, first=True)
ALL: Final = Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), 2, within_ms=50)
#: What a call reserves is three times what it costs: the rest must come back.
AGAIN: Final = Terms(retry=RetryRule(2, 10))
PLANS: Final[dict[str, tuple[Node, Terms, tuple[Counting, ...]]]] = {
    "one": (Ask("a"), Terms(), ()),
    "sequence": (InSequence((Ask("a"), Ask("b"))), Terms(), ()),
    "cascade": (Cascade((Ask("a"), Ask("b")), SURE), Terms(), ()),
    "fallback": (Fallback((Ask("a"), Ask("b"))), Terms(), (Counting("a", broken()),)),
    "the first of two, the other let go of": (BOTH, AGAIN, (Counting("b", 5_000),)),
    "two within a time": (ALL, AGAIN, (Counting("b", 5_000),)),
    "a validator's": (JUDGED, Terms(), ()),
    "corrections, each judged again": (CORRECTED, Terms(), ()),
    "retried": (Ask("a"), AGAIN, (Counting("a", broken(), broken(), 5),)),
    "retried in vain": (Ask("a"), AGAIN, (Counting("a", broken()),)),
    "retried after a refusal that nobody bills": (
        Ask("a"), AGAIN, (Counting("a", busy(), 5),)
    ),
    "refused after an attempt that may be billed": (
        Ask("a"), AGAIN, (Counting("a", broken(), busy()),)
    ),
}  # fmt: skip


def desk_of(loop: VirtualLoop, terms: Terms, others: tuple[Counting, ...]) -> Desk:
    models = {name: Counting(name) for name in NAMES}
    # Scripts are shared by parameters: each test has its own.
    models |= {one.name: Counting(one.name, *one.ends) for one in others}
    return Desk(loop, terms, *models.values())


@pytest.mark.parametrize("name", PLANS)
def test_what_models_are_asked_for_is_counted_and_nothing_is_kept(
    loop: VirtualLoop, name: str
) -> None:
    plan, terms, others = PLANS[name]
    desk = desk_of(loop, terms, others)
    desk.drive(plan)
    if plan is CORRECTED:
        assert [desk.models[one].calls for one in NAMES] == [2, 1, 3]
    assert desk.owed_nano > 0
    assert desk.used_nano == desk.owed_nano


def test_a_hedge_is_paid_for_also_the_one_that_loses(loop: VirtualLoop) -> None:
    desk = desk_of(loop, Terms(hedge=True), (Counting("a", *[10] * 60, 4_000, 10),))
    for _ in range(60):
        desk.drive(Ask("a"))
    assert desk.models["a"].calls == 60
    desk.drive(Ask("a"))
    assert desk.models["a"].calls == 62, "the slow call was made a second time"
    assert desk.used_nano == desk.owed_nano


def test_a_call_that_is_late_for_its_events_is_paid_for(loop: VirtualLoop) -> None:
    desk = desk_of(loop, AGAIN, (Counting("a", 5_000),))
    work = desk.drive(Ask("a"), patience_ms=100)
    assert work.heard.late().all()
    assert desk.used_nano == desk.owed_nano > 0


@pytest.mark.parametrize("plan", [Ask("a"), ALL], ids=["alone", "beside another"])
def test_a_call_whose_batch_is_given_up_is_paid_for(loop: VirtualLoop, plan: Node) -> None:
    desk = desk_of(loop, AGAIN, (Counting("a", 5_000),))

    async def given_up() -> None:
        task = asyncio.ensure_future(desk.driver.drive(desk.work(plan)))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop.run_until_complete(given_up())
    loop.run_until_complete(asyncio.sleep(1))
    assert desk.used_nano == desk.owed_nano > 0


@pytest.mark.parametrize("plan", [Ask("a"), BOTH], ids=["alone", "beside another"])
def test_a_call_after_which_the_batch_is_tried_again_is_paid_for(
    loop: VirtualLoop, plan: Node
) -> None:
    desk = desk_of(loop, AGAIN, (Counting("a", LaterError("out of reach")), Counting("b", 90)))
    with pytest.raises(LaterError):
        loop.run_until_complete(desk.driver.drive(desk.work(plan)))
    loop.run_until_complete(asyncio.sleep(1))
    assert desk.used_nano == desk.owed_nano > 0


def test_who_waits_for_a_window_to_turn_is_not_late_meanwhile(loop: VirtualLoop) -> None:
    desk = desk_of(loop, Terms(), ())
    desk.purse = desk.leased(0, "queue")
    work = desk.work(Ask("a"), patience_ms=100)
    with pytest.raises(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(desk.driver.drive(work), 10))
    assert not work.reached.done.any()
    assert desk.models["a"].calls == 0


def test_nothing_is_asked_where_a_budget_is_not_paid_from(loop: VirtualLoop) -> None:
    desk = desk_of(loop, Terms(), ())
    work = desk.work(Ask("a"))
    object.__setattr__(work.asking, "payment", None)
    with pytest.raises(AssertionError, match="a budget, and nothing to pay from"):
        loop.run_until_complete(desk.driver.drive(work))
    assert desk.models["a"].calls == 0


@pytest.mark.parametrize("what", [r"\bput_call\(", r"\.answer_rows\("])
def test_models_are_asked_in_one_place(what: str) -> None:
    """Whoever asks elsewhere asks unpaid; adapters and wrappers only pass a question on."""
    passing = ("streams/adapters/", "streams/metered_model.py", "agents/delegation/work.py")
    asking = {
        path.relative_to(ROOT).as_posix()
        for room in ("agents", "streams")
        for path in (ROOT / room).rglob("*.py")
        if re.search(what, re.sub(r"def \w+\(", "", path.read_text()))
    }
    allowed: Callable[[str], bool] = lambda path: path.startswith(passing)  # noqa: E731
    assert {path for path in asking if not allowed(path)} <= {
        "streams/guard.py",
        "streams/testing.py",
    }
