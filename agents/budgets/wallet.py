"""The wallet: a lane's purse, with what its pipeline's budgets are and what its models cost.

A batch first takes in what came from the owners of budgets, gives back what is not needed, and
asks for what is; then its events are paid for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from batuta.agents.budgets.purse import Purse
from batuta.agents.budgets.spending import Payment, Spending
from batuta.agents.context import Context
from batuta.agents.state.timers import Timer
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.lease import LeaseGrant, LeaseRequest
from batuta.schemas.review import StepAnswer

__all__ = ["LOOK", "Item", "Leased", "Paying", "Scored", "Wallet", "lease"]

#: The kind of the timer that looks after a budget while no event comes.
LOOK: Final = "budget"

Item = Ingested | LabelOutcome | StepAnswer
Scored = Item | LeaseGrant


@dataclass(frozen=True)
class Leased:
    """What a batch has to do with leases.

    Attributes:
        items: of the batch, without what is about leases.
        requests: to send with it.
        taken: what may be drawn from once it is committed.
        grants: how many of the items were answers of owners.
    """

    items: Sequence[Item]
    requests: list[LeaseRequest] = field(default_factory=list[LeaseRequest])
    taken: list[LeaseGrant] = field(default_factory=list[LeaseGrant])
    grants: int = 0


class Paying(Protocol):
    """A state that may have a wallet."""

    @property
    def wallet(self) -> "Wallet | None":
        """It, where the pipeline has budgets."""
        ...


def lease(items: Sequence[Scored], context: "Context[Paying]") -> Leased:
    """Do what a batch has to do with leases: nothing where there are no budgets."""
    wallet = context.state.wallet
    return Leased(cast("Sequence[Item]", items)) if wallet is None else wallet.lease(items, context)


class Wallet:
    """Pays for the events of one lane.

    Attributes:
        purse: its leases; its table is the state.
        spending: the budgets.
    """

    def __init__(self, spending: Spending) -> None:
        self.spending = spending
        least = {rule.name: spending.least_nano(rule) for rule in spending.rules}
        self.purse = Purse(spending.rules, least)

    def lease(self, items: Sequence[Scored], context: Context[object]) -> Leased:
        """Take in what owners of budgets have said, and return what they are to be told."""
        grants = [item for item in items if isinstance(item, LeaseGrant)]
        left = cast(
            "Sequence[Item]",
            [item for item in items if not isinstance(item, LeaseGrant)] if grants else items,
        )
        events = [item for item in left if isinstance(item, Ingested)]
        taken = self.purse.take(grants, context.now_ms) if grants else []
        budgets = self.spending.ids_of(events)
        requests = self.purse.tend(budgets, context.partition, context.now_ms)
        for budget in dict.fromkeys((*budgets, *(grant.budget for grant in grants))):
            self._look_later(budget, context)
        return Leased(left, requests, taken, len(grants))

    def payment(self, events: Sequence[Ingested]) -> Payment:
        """Return how a question about events is paid for."""
        return Payment(self.spending, self.purse, events)

    def patience_ms(self, events: Sequence[Ingested]) -> int:
        """Return how much longer than usual events may wait, since their window has to turn."""
        return self.payment(events).patience_ms()

    def _look_later(self, budget: str, context: Context[object]) -> None:
        """Let the lane come back to a budget though nothing comes: leases fall idle, windows turn.

        A timer is set once and fires once; the batch that it begins sees to the whole purse.
        """
        look_ms = self.purse.next_look_ms(budget)
        if look_ms is None:
            return
        set_before = context.timers.get(LOOK, budget)
        due_ms = max(look_ms, context.now_ms + 1)
        if set_before is None or due_ms < set_before.due_ms:
            context.timers.set(Timer(LOOK, budget, due_ms, "processing"))
