"""The rule of a budget: its limit, its window, whom it holds for, what happens as it is used up."""

from dataclasses import dataclass, field
from decimal import Decimal

from batuta.agents.budgets.ladder import Ladder
from batuta.agents.budgets.windows import Period
from batuta.agents.identity import DEFAULT_TENANT
from batuta.agents.models.answers import NANO

__all__ = ["BudgetRule", "amount_text", "budget_id", "budget_text", "name_of"]

_MARK = "/"


@dataclass(frozen=True)
class BudgetRule:
    """One budget of a pipeline.

    Attributes:
        name: in the pipeline file.
        limit_nano: per window, billionths of `currency`.
        per: how long a window is.
        models: which it holds for; empty for all.
        each_tenant: whether each tenant has one of its own.
        ladder: what happens as it is used up.
    """

    name: str
    limit_nano: int
    currency: str
    per: Period = "day"
    models: frozenset[str] = frozenset()
    each_tenant: bool = False
    ladder: Ladder = field(default_factory=Ladder)

    def holds_for(self, model: str) -> bool:
        """Say whether asking `model` is paid from it."""
        return not self.models or model in self.models

    def id_of(self, tenant: str) -> str:
        """Return the id of the budget that pays for a tenant."""
        return budget_id(self.name, tenant) if self.each_tenant else self.name


def budget_id(name: str, tenant: str = DEFAULT_TENANT) -> str:
    """Return the id of a tenant's budget."""
    return f"{name}{_MARK}{tenant}"


def budget_text(rule: BudgetRule) -> str:
    """Return a budget as one line.

    >>> budget_text(BudgetRule("daily", 50_000_000_000, "EUR"))
    'budget daily: 50 EUR per day, 100% stop'
    """
    whom = " for each tenant" if rule.each_tenant else ""
    what = f" on {', '.join(sorted(rule.models))}" if rule.models else ""
    steps = (*(step for step in rule.ladder.steps if step != rule.ladder.end), rule.ladder.end)
    ladder = "".join(f", {100 * step.share:g}% {step.rung}" for step in steps)
    limit = amount_text(rule.limit_nano, rule.currency)
    return f"budget {rule.name}: {limit} per {rule.per}{whom}{what}{ladder}"


def amount_text(amount_nano: int, currency: str) -> str:
    """Return an amount of money.

    >>> amount_text(800_000, "EUR")
    '0.0008 EUR'
    """
    return f"{(Decimal(amount_nano) / NANO).normalize():f} {currency}"


def name_of(budget: str) -> str:
    """Return the name in the pipeline file of the budget with this id.

    >>> name_of("daily/acme")
    'daily'
    """
    return budget.partition(_MARK)[0]
