"""A till: one scoring lane of a pipeline with budgets, and their owner, on a clock by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from batuta.agents.asking import Arrival, News
from batuta.agents.budgeting import Budgeting
from batuta.agents.budgets.account import Account
from batuta.agents.budgets.standing import BudgetStanding
from batuta.agents.budgets.wallet import lease
from batuta.agents.conductor import Conductor
from batuta.agents.context import Context
from batuta.agents.models.answers import NANO, Answers
from batuta.agents.state.parking import ParkingLot
from batuta.agents.state.timers import Timers
from batuta.schemas.ingested import Ingested
from batuta.schemas.lease import LimitChange
from batuta.schemas.partition import PartitionOf
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from batuta.agents.models.port import Matrix
    from batuta.agents.questions import Question
    from batuta.schemas.decision import Decision
    from batuta.schemas.lease import LeaseGrant, LeaseRequest
    from batuta.schemas.notification import Notification

FILE = """\
pipeline: till
version: 1
source: {schema: "till_parts:Sale", id: sale, key: key, time: at}
models:
  cheap: {adapter: python, use: "till_parts:Sure", inputs: [size], cost: 0.01 EUR}
  dear: {adapter: python, use: "till_parts:Sure", inputs: [size], cost: 0.10 EUR}
plans:
  deep: {ask: dear}
  fast: {ask: cheap}
select: {among: [deep, fast], weights: {deep: 1, fast: 0}}
deadline: 60s
budget: {limit: 1 EUR}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Sale(BaseModel):
    sale: str
    key: str
    at: EventTime
    size: float


class Sure:
    def answer(self, inputs):
        return np.full(len(inputs), 0.25)
"""
#: The beginning of a day, in UTC.
START_MS = 1_700_006_400_000


class Asked:
    """A model that answers 0.25, counts its rows, and bills what it is told to."""

    inputs: tuple[str, ...] = ("size",)

    def __init__(self, name: str) -> None:
        self.name, self.version = name, f"{name}@000000000000"
        self.rows = 0
        self.bill: Callable[[int], tuple[int, str]] = lambda rows: (0 * rows, "")

    async def answer(self, inputs: Matrix) -> Answers:
        self.rows += len(inputs)
        cost_nano, currency = self.bill(len(inputs))
        scores = np.full(len(inputs), 0.25)
        return Answers(scores, cost_nano=cost_nano, currency=currency)


@dataclass
class Till:
    """One lane and the owner; every batch is committed.

    Attributes:
        told: what people were told.
    """

    loaded: Any
    now_ms: int = START_MS
    told: list[Notification] = field(default_factory=list)

    def __post_init__(self) -> None:
        loaded = self.loaded
        self.models = {name: Asked(name) for name in ("cheap", "dear")}
        self.conductor = Conductor(loaded.pipeline, self.models, loaded.reasons, loaded.deciding)
        self.owner = Budgeting(loaded.pipeline.name, loaded.plan.budgets)
        self.accounts = self.owner.open_state()
        self.state = self.conductor.open_state()
        self.lot, self.timers = ParkingLot(b"p", steps_max=1_000), Timers(b"t", entries_max=1_000)
        self._grants: list[LeaseGrant] = []
        self._pending: Sequence[Question] = ()
        self._sold = 0

    def sell(self, count: int, tenant: str = "default", batches: int = 25) -> list[Decision]:
        """Let events come, and batches enough for what they wait for; return their decisions."""
        events = [self.event(tenant) for _ in range(count)]
        decided = self.batch(*events)
        for _ in range(batches):
            decided += self.batch()
        return decided

    def batch(self, *events: Ingested) -> list[Decision]:
        """Run one batch of the lane and one of the owner."""
        self.now_ms += 10
        arrivals = [Arrival(one, asyncio.run(self.conductor.ask(one))) for one in self._pending]
        tables = (self.state, self.lot, self.timers)
        for table in tables:
            table.begin()
        self.timers.due(self.now_ms, self.now_ms, 100)
        context = Context(
            self.now_ms, 0, PartitionOf(1), self.state, timers=self.timers, parked=self.lot
        )
        leased = lease([*self._grants, *events], context)
        self._grants = []
        question = self.conductor.understand(leased.items, context)  # type: ignore[arg-type]
        answer = asyncio.run(self.conductor.ask(question))
        concluded = self.conductor.conclude(question, answer, context, News(tuple(arrivals)))
        for table in tables:
            table.changes(self.now_ms)
            table.commit()
        if (wallet := self.state.wallet) is not None:
            wallet.purse.opened(leased.taken)
        self._pending = concluded.follow_ups
        self.own(*leased.requests)
        return list(concluded.decisions)

    def own(self, *items: LeaseRequest | LimitChange) -> None:
        """Run one batch of the owner."""
        self.accounts.begin()
        done = self.owner.budget(items, Context(self.now_ms, 0, PartitionOf(1), self.accounts))
        self.accounts.changes(self.now_ms)
        self.accounts.commit()
        self._grants += done.grants
        self.told += done.notifications

    def limit(self, euros: float | None, budget: str = "daily") -> None:
        """Set the limit of a budget by hand."""
        nano = None if euros is None else round(euros * NANO)
        self.own(LimitChange(budget, nano, self.now_ms))

    def standing(self, budget: str = "daily") -> BudgetStanding:
        """Return how a budget stands."""
        held = self.accounts.get(budget)
        rules = {rule.name: rule for rule in self.loaded.plan.budgets}
        rule = rules[budget.partition("/")[0]]
        account = None if held is None else Account.read(held)
        return BudgetStanding.of(budget, rule, account, self.now_ms)

    def billed_nano(self) -> int:
        """Return what the models were asked for, at their prices."""
        return self.models["cheap"].rows * NANO // 100 + self.models["dear"].rows * NANO // 10

    def event(self, tenant: str = "default") -> Ingested:
        """Return an event of its own key."""
        name = f"s{self._sold}"
        self._sold += 1
        data = {"sale": name, "key": name, "at": "2024-01-01T00:00:00Z", "size": 1.0}
        return Ingested(name, name, name, self.now_ms, self.now_ms, tenant, data, {})


@pytest.fixture
def till(tmp_path: Path) -> Callable[..., Till]:
    """Open a till whose file has another budget, or other text."""

    def open_till(budget: str, **replaced: str) -> Till:
        (tmp_path / "till_parts.py").write_text(PARTS)
        text = FILE.replace("budget: {limit: 1 EUR}", f"budget: {budget}")
        for old, new in replaced.items():
            assert f"{old}: " in text, old
            text = "\n".join(
                f"{old}: {new}" if line.startswith(f"{old}: ") else line
                for line in text.splitlines()
            )
        (tmp_path / "till.yaml").write_text(text + "\n")
        return Till(load_file(tmp_path / "till.yaml").loaded)

    return open_till
