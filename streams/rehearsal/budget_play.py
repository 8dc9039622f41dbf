"""A pipeline under a budget that does not suffice: what its models bill never exceeds the limit.

Every call is billed as it arrives, whatever becomes of its answer, its batch or its worker. The
window is a month, so that all of a seed, clocks that jump included, lies in one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from batuta.agents.budgeting import ACCOUNTS_TAG, accounts_table
from batuta.agents.budgets.account import Account
from batuta.agents.budgets.ladder import Ladder, Step
from batuta.agents.budgets.lane_leases import Entry, read_entry
from batuta.agents.budgets.purse import PURSE_TAG, Purse
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.budgets.spending import Spending, Tariff
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.terms import Terms
from batuta.agents.models.port import Matrix, Scores
from batuta.agents.pipelines import Shipped
from batuta.schemas.lease import LeaseRequest
from batuta.schemas.lease_codec import decode_budgeting
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.rehearsal.outside_world import RehearsedModel, Unreliable
from batuta.streams.rehearsal.pipeline_play import PipelinePlay
from batuta.streams.rehearsal.play import ByTopic
from batuta.streams.stages import ROUTE

__all__ = ["BudgetPlay", "under_budget"]

_PRICE_NANO: Final = 1_000_000
#: Of the 500 events of a seed and more the budget pays for so many.
_ANSWERS_MAX: Final = 300
#: Of the groups of the route: what they write hangs on which leases came when.
_BY_LEASES: Final = frozenset(("scoring", "budgeting"))
#: A lease, by its lane and number.
LeaseId = tuple[int, int]


def under_budget(shipped: Shipped) -> Shipped:
    """Return a pipeline whose one model has a price, under a budget for a part of the events."""
    ladder = Ladder((Step(0.5, "warn"), Step(1.0, "stop")))
    limit_nano = _ANSWERS_MAX * _PRICE_NANO
    rule = BudgetRule("monthly", limit_nano, "XTS", per="month", ladder=ladder)
    tariffs = {RehearsedModel.name: Tariff(_PRICE_NANO)}
    delegating = replace(
        Delegating.to(RehearsedModel.name),
        terms={RehearsedModel.name: Terms(price_nano=_PRICE_NANO, currency="XTS")},
        spending=Spending("rehearsed@1", (rule,), tariffs, ("only",)),
    )
    return replace(shipped, plan=replace(shipped.plan, budgets=(rule,), delegating=delegating))


class _Billing(RehearsedModel):
    """Bills every row that it is asked about.

    Attributes:
        billed_nano: so far.
    """

    billed_nano = 0

    async def answer(self, inputs: Matrix) -> Scores:
        """Return one score per row."""
        self.billed_nano += len(inputs) * _PRICE_NANO
        return await super().answer(inputs)


class BudgetPlay(PipelinePlay):
    """The stages of `ROUTE` over a pipeline `under_budget`."""

    def __init__(self, shipped: Shipped, unreliable: Unreliable) -> None:
        shipped = under_budget(shipped)
        super().__init__(shipped, unreliable)
        self._billing = _Billing(shipped, unreliable)
        (self._rule,) = shipped.plan.budgets

    @property
    def recomputed(self) -> frozenset[str]:
        """The groups whose input says all that they were given."""
        return super().recomputed - {self._topics.group(stage) for stage in _BY_LEASES}

    def build(self, app: LaneApp) -> None:
        """Register the route's stages."""
        house = House(self._shipped, {self._billing.name: self._billing}, (self._sink,))
        for stage in ROUTE:
            stage(app, house)

    def unbalanced(self, read: ByTopic) -> Iterator[str]:
        """Yield what did not end once, what was overspent, and leases that nobody accounts for."""
        yield from super().unbalanced(read)
        billed, limit = self._billing.billed_nano, self._rule.limit_nano
        if billed > limit:
            yield f"{billed} were billed under a limit of {limit}"
        account, purses = self._account(read), self._purses(read)
        if account.used_nano < billed:
            yield f"{billed} were billed, and {account.used_nano} are accounted for"
        yield from self._astray(read, account, purses)

    def _astray(
        self, read: ByTopic, account: Account, purses: Mapping[int, Entry]
    ) -> Iterator[str]:
        """Yield leases that only one side knows of, and that are on no way between them."""
        held = {(n, lease.number) for n, purse in purses.items() for lease in purse.leases}
        for lane, number in sorted(held - account.leases.keys()):
            yield f"lane {lane} holds lease {number}, which its budget does not count"
        returned = self._returned(read)
        for lane, number in sorted(account.leases.keys() - held - returned):
            purse = purses.get(lane)
            if purse is None or purse.asked != number:
                yield f"lease {number} of lane {lane} is out, and nobody holds it"

    def _account(self, read: ByTopic) -> Account:
        table = accounts_table()
        for record in read[self._topics.state("budgeting")]:
            if record.key is not None and record.key[:1] == ACCOUNTS_TAG:
                table.load(record.key, record.value)
        found = table.get(self._rule.name)
        return Account(self._rule.limit_nano) if found is None else Account.read(found)

    def _purses(self, read: ByTopic) -> dict[int, Entry]:
        """Return what each lane remembers of the budget."""
        purses: defaultdict[int, Purse] = defaultdict(lambda: Purse((self._rule,)))
        for record in read[self._topics.state("scoring")]:
            if record.key is not None and record.key[:1] == PURSE_TAG:
                purses[record.partition].table.load(record.key, record.value)
        found = {lane: purse.table.get(self._rule.name) for lane, purse in purses.items()}
        return {lane: read_entry(one) for lane, one in found.items() if one is not None}

    def _returned(self, read: ByTopic) -> set[LeaseId]:
        requests = decode_budgeting(read[self._topics.leases]).items
        return {
            (one.lane, lease.number)
            for one in requests
            if isinstance(one, LeaseRequest)
            for lease in one.closed
        }
