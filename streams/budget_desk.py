"""The desk of budgets: how they stand, read from their owner's changelog; limits, set by hand.

Nothing is kept here. A limit is written twice in one transaction: on `batuta.control`, where it
says what holds, and to the owner of the budget, whose account then says that it was taken.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from batuta.agents.budgeting import ACCOUNTS_TAG, accounts_table
from batuta.agents.budgets.account import Account
from batuta.agents.budgets.rule import BudgetRule, amount_text, budget_id, name_of
from batuta.agents.budgets.standing import BudgetStanding
from batuta.agents.models.prices import nano
from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas.budget_limit import BudgetLimit
from batuta.schemas.control_codec import decode_budget_limit, encode_budget_limit
from batuta.schemas.errors import RegistryMovedError, UsageError
from batuta.schemas.lease import LimitChange
from batuta.schemas.lease_codec import encode_limit_change
from batuta.schemas.pipeline_file.quantities import Money
from batuta.schemas.record import Record
from batuta.schemas.topics import CONTROL
from batuta.streams.registry.sole_writer import sole_writer, write_alone
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BudgetDesk", "LimitTaken"]

_TRANSACTIONAL_ID: Final = "batuta-budgets"
_AGAIN: Final = "look at batuta budget show, then decide again"


@dataclass(frozen=True, slots=True)
class LimitTaken:
    """What became of a limit that was set.

    Attributes:
        before_nano: the limit before.
        standing: of the budget, with the new limit.
        taken: whether its owner has taken it.
    """

    before_nano: int
    standing: BudgetStanding
    taken: bool


class BudgetDesk:
    """The budgets of one pipeline."""

    def __init__(self, loaded: LoadedPipeline, settings: Settings) -> None:
        """Take the pipeline, and how to reach the brokers."""
        self._pipeline = loaded.pipeline.name
        self._topics = loaded.topics
        self._settings = settings
        self.rules: Mapping[str, BudgetRule] = {rule.name: rule for rule in loaded.plan.budgets}

    async def standings(self) -> list[BudgetStanding]:
        """Return how every budget stands: those of the file, those of tenants as they have asked.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: no worker has run the pipeline with budgets yet.
        """
        async with self._reader() as reader:
            accounts = await _accounts(reader)
        now_ms = _now_ms()
        plain = [rule.name for rule in self.rules.values() if not rule.each_tenant]
        own = sorted(id_ for id_ in accounts if self._of_tenant(id_))
        return [
            BudgetStanding.of(id_, self.rules[name_of(id_)], accounts.get(id_), now_ms)
            for id_ in (*plain, *own)
        ]

    def id_of(self, name: str | None, tenant: str | None) -> str:
        """Return the id of the budget that a person means.

        Raises:
            UsageError: none or several are meant.
        """
        known = ", ".join(self.rules)
        if name is None and len(self.rules) > 1:
            raise UsageError(f"{self._pipeline} has several budgets; add --budget, one of: {known}")
        rule = next(iter(self.rules.values())) if name is None else self.rules.get(name)
        if rule is None:
            raise UsageError(f"{name!r} is no budget of {self._pipeline}; choose one of: {known}")
        if rule.each_tenant and not tenant:
            raise UsageError(f"each tenant has a budget {rule.name} of its own; add --tenant")
        if tenant and not rule.each_tenant:
            raise UsageError(f"tenants share the budget {rule.name}; leave out --tenant")
        return budget_id(rule.name, tenant) if tenant else rule.name

    async def set_limit(
        self, budget: str, limit: Money | None, instead_of: Money | None, wait_s: float
    ) -> LimitTaken:
        """Set the limit of a budget.

        Args:
            budget: its id.
            limit: from now on; None for that of the pipeline file.
            instead_of: only where this is the limit so far; None: whatever it is.
            wait_s: for the owner to take it.

        Raises:
            UsageError: another currency than the budget's.
            RegistryMovedError: the limit is another one, or somebody else sets it just now.
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: no worker has run the pipeline with budgets yet.
        """
        rule = self.rules[name_of(budget)]
        for money in (limit, instead_of):
            _check_currency(money, rule)
        async with self._reader() as reader:
            async with sole_writer(self._settings, _TRANSACTIONAL_ID) as producer:
                accounts = await _accounts(reader)
                held = accounts.get(budget)
                before = BudgetStanding.of(budget, rule, held, _now_ms()).account.limit_nano
                if instead_of is not None and nano(instead_of.amount) != before:
                    found, named = amount_text(before, rule.currency), f"{instead_of.amount:f}"
                    raise RegistryMovedError(
                        f"the limit of {budget} is {found}, expected {named} {rule.currency}: "
                        f"somebody set it meanwhile; {_AGAIN}"
                    )
                set_at_ms = max(_now_ms(), await self._set_last_ms(budget, held) + 1)
                change = LimitChange(
                    budget, None if limit is None else nano(limit.amount), set_at_ms
                )
                record = BudgetLimit(
                    pipeline=self._pipeline,
                    budget=budget,
                    limit=None if limit is None else f"{limit.amount:f} {limit.currency}",
                    set_at=datetime.fromtimestamp(set_at_ms / 1000, UTC),
                )
                outputs = [
                    encode_budget_limit(record),
                    encode_limit_change(change, self._topics.leases),
                ]
                await write_alone(producer, outputs, _AGAIN)
            account = await _taken(reader, budget, set_at_ms, wait_s)
        standing = BudgetStanding.of(budget, rule, account or held, _now_ms())
        return LimitTaken(before, standing, taken=account is not None)

    async def _set_last_ms(self, budget: str, held: Account | None) -> int:
        """Return when the limit of a budget was set last, taken or not; 0 for never."""
        set_at_ms = held.set_at_ms if held is not None else 0
        async with TopicReader(client_options(self._settings), [CONTROL]) as reader:
            async for records in reader.until_end():
                for limit in filter(None, map(decode_budget_limit, records)):
                    if (limit.pipeline, limit.budget) == (self._pipeline, budget):
                        set_at_ms = max(set_at_ms, round(limit.set_at.timestamp() * 1000))
        return set_at_ms

    def _of_tenant(self, budget: str) -> bool:
        rule = self.rules.get(name_of(budget))
        return rule is not None and rule.each_tenant and budget != rule.name

    def _reader(self) -> TopicReader:
        return TopicReader(client_options(self._settings), [self._topics.state("budgeting")])


async def _accounts(reader: TopicReader) -> dict[str, Account]:
    """Read on to where the changelog ends; return the accounts that were written, the last each."""
    found: dict[str, Account] = {}
    async for records in reader.until_end():
        found |= _written(records)
    return found


async def _taken(reader: TopicReader, budget: str, set_at_ms: int, wait_s: float) -> Account | None:
    """Return an account once it has a limit that was set then; None where it has not in time."""
    try:
        async with asyncio.timeout(wait_s):
            while True:
                account = _written(await reader.poll()).get(budget)
                if account is not None and account.set_at_ms >= set_at_ms:
                    return account
    except TimeoutError:
        return None


def _written(records: list[Record]) -> dict[str, Account]:
    table = accounts_table()
    mine = [one for one in records if one.key is not None and one.key[:1] == ACCOUNTS_TAG]
    table.load_many([one.key or b"" for one in mine], [one.value for one in mine])
    return {budget: Account.read(value) for budget, value in table.items()}


def _check_currency(money: Money | None, rule: BudgetRule) -> None:
    if money is not None and money.currency != rule.currency:
        said = f"{money.amount:f} {money.currency}"
        raise UsageError(
            f"limit: {said!r} is not in the currency of the budget {rule.name}; write "
            f"{money.amount:f} {rule.currency}"
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
