"""What becomes of budgets, and what decisions cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from batuta.streams.telemetry.facts import Scribe

__all__ = ["BudgetMoved", "DecisionsPaid"]


@dataclass(frozen=True, slots=True)
class BudgetMoved:
    """Something was leased from a budget, or came back.

    Attributes:
        remaining: the share of the limit that is neither spent nor leased.
        ends_s: when it will be used up, if it goes on so; the end of its window where that is
            before. Seconds since 1970.
        turns_s: when its window ends.
    """

    budget: str
    remaining: float
    ends_s: float
    turns_s: float

    def tell(self, scribe: Scribe) -> None:
        """Show it."""
        scribe.meters.budget(self.budget, self.remaining, self.ends_s, self.turns_s)


@dataclass(frozen=True, slots=True)
class DecisionsPaid:
    """Decisions were committed whose models have cost something.

    Attributes:
        amounts: by outcome and currency, in units of the currency.
    """

    amounts: Mapping[tuple[str, str], float]

    def tell(self, scribe: Scribe) -> None:
        """Count it."""
        for (outcome, currency), amount in self.amounts.items():
            scribe.meters.decision_cost.add(amount, outcome, currency)
