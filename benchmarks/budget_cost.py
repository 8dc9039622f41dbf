"""What a budget costs per event where leases are local: the same batches with and without one.

    uv run python benchmarks/budget_cost.py [--rounds 9] [--json]

The fraud pipeline's scoring stage in process, batches of 1,000 ingested events, one model with a
price that answers at once. Beside it without a budget (`none`): one of a day (`one`), and three, of
which one is each tenant's and one has all the steps (`three`). Each batch goes through all of them
in turns, the order changing; the owner of the budgets and the leases it gives are in the figure.
CPU per event, medians over rounds, and how much more than `none`; the goal for `one` is 2 us.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration import ROWS, Quick, events

from batuta.agents.budgeting import Budgeting
from batuta.agents.budgets.ladder import Ladder, Step
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.budgets.spending import Spending, Tariff
from batuta.agents.budgets.wallet import lease
from batuta.agents.conductor import Conductor
from batuta.agents.context import Context
from batuta.agents.delegation.terms import Terms
from batuta.agents.state.parking import ParkingLot
from batuta.agents.state.timers import Timers
from batuta.schemas.partition import PartitionOf
from batuta.streams.at_once import AtOnce
from batuta.streams.pipelines.finding import find_pipeline

if TYPE_CHECKING:
    from batuta.agents.conductor_state import ConductorState
    from batuta.schemas.ingested import Ingested
    from batuta.schemas.lease import LeaseGrant, LeaseRequest

PRICE_NANO = 10_000
#: A lease is a hundredth of it: enough for ten batches.
LIMIT_NANO = 1_000_000 * PRICE_NANO
LADDER = Ladder(
    (Step(0.95, "warn"), Step(0.97, "cheaper"), Step(0.98, "sample"), Step(1.0, "stop"))
)
HOUSES: dict[str, tuple[BudgetRule, ...]] = {
    "none": (),
    "one": (BudgetRule("daily", LIMIT_NANO, "EUR"),),
    "three": (
        BudgetRule("daily", LIMIT_NANO, "EUR", ladder=LADDER),
        BudgetRule("monthly", 9 * LIMIT_NANO, "EUR", per="month"),
        BudgetRule("own", LIMIT_NANO, "EUR", each_tenant=True),
    ),
}
START_MS = 1_700_006_400_000


class Lane:
    """The scoring stage of one lane, and the owner of its budgets, without Kafka."""

    def __init__(self, rules: tuple[BudgetRule, ...]) -> None:
        shipped = find_pipeline("fraud").loaded
        name, delegating = shipped.plan.model, shipped.deciding.delegating
        assert delegating is not None
        self.carried = tuple(one for one in shipped.plan.inputs[name] if one.startswith("card_"))
        terms = {name: Terms(price_nano=PRICE_NANO, currency="EUR")}
        spending = Spending("fraud@1", rules, {name: Tariff(PRICE_NANO)}, tuple(delegating.plans))
        paid = replace(delegating, terms=terms, spending=spending if rules else None)
        self.model = Quick(shipped.plan.inputs[name])
        models, deciding = {name: self.model}, replace(shipped.deciding, delegating=paid)
        self.conductor = Conductor(shipped.pipeline, models, shipped.reasons, deciding)
        self.conductor.driver = AtOnce(models, terms)
        self.state = self.conductor.open_state()
        self.lot, self.timers = ParkingLot(b"p", steps_max=10_000), Timers(b"t", entries_max=100)
        self.owner = Budgeting("fraud", rules)
        self.accounts = self.owner.open_state()
        self.grants: list[LeaseGrant] = []

    async def batch(self, batch: list[Ingested], now_ms: int) -> float:
        """Return the CPU seconds that a batch took beside its model."""
        began_s, model_s = time.process_time(), self.model.used_s
        tables = (self.state, self.lot, self.timers)
        for table in tables:
            table.begin()
        context: Context[ConductorState] = Context(
            now_ms, 0, PartitionOf(1), self.state, timers=self.timers, parked=self.lot
        )
        leased = lease([*self.grants, *batch] if self.grants else batch, context)
        question = self.conductor.understand(leased.items, context)
        answer = await self.conductor.ask(question)
        decisions = self.conductor.conclude(question, answer, context).decisions
        for table in tables:
            table.changes(now_ms)
            table.commit()
        if self.state.wallet is not None:
            self.state.wallet.purse.opened(leased.taken)
        self.grants = self._own(leased.requests, now_ms) if leased.requests else []
        used_s = time.process_time() - began_s - (self.model.used_s - model_s)
        assert len(decisions) == len(batch), "the leases are local, so nobody waits"
        return used_s

    def _own(self, requests: list[LeaseRequest], now_ms: int) -> list[LeaseGrant]:
        self.accounts.begin()
        done = self.owner.budget(requests, Context(now_ms, 0, PartitionOf(1), self.accounts))
        self.accounts.changes(now_ms)
        self.accounts.commit()
        return done.grants

    async def fill(self, batch: list[Ingested], now_ms: int) -> None:
        """Let leases come before anything is measured."""
        for step in range(4):
            self.state.begin()
            self.timers.begin()
            context: Context[ConductorState] = Context(
                now_ms + step, 0, PartitionOf(1), self.state, timers=self.timers
            )
            leased = lease([*self.grants, *batch], context)
            for table in (self.state, self.timers):
                table.changes(now_ms)
                table.commit()
            if self.state.wallet is not None:
                self.state.wallet.purse.opened(leased.taken)
            self.grants = self._own(leased.requests, now_ms) if leased.requests else []


async def measured(rounds: int, batches: int) -> dict[str, list[float]]:
    """Return CPU-us per event of each round, by how many budgets there are."""
    lanes = {name: Lane(rules) for name, rules in HOUSES.items()}
    first = events(0, lanes["none"].carried)
    for lane in lanes.values():
        await lane.fill(first, START_MS)
    found: dict[str, list[float]] = {name: [] for name in lanes}
    for number in range(rounds + 1):
        used_s = dict.fromkeys(lanes, 0.0)
        for place in range(batches):
            count = number * batches + place
            batch = events(count + 1, lanes["none"].carried)
            names = list(lanes)
            turn = count % len(names)
            for name in names[turn:] + names[:turn]:
                used_s[name] += await lanes[name].batch(batch, START_MS + 100 * (count + 1))
        if number:  # the first one warms
            for name, one in used_s.items():
                found[name].append(1e6 * one / (ROWS * batches))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=12, help="of 1,000 events, in each round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = asyncio.run(measured(options.rounds, options.batches))
    none = found["none"]
    told = {
        name: {
            "cpu_us_per_event": round(statistics.median(each), 2),
            "more_than_none": round(
                statistics.median(a - b for a, b in zip(each, none, strict=True)), 2
            ),
            "ratio": round(statistics.median(a / b for a, b in zip(each, none, strict=True)), 3),
        }
        for name, each in found.items()
    }
    if options.json:
        print(json.dumps(told))
        return
    for name, figures in told.items():
        print(f"{name:8}", *(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
