"""What becomes of plans that a model has proposed."""

from collections.abc import Mapping
from dataclasses import dataclass

from batuta.streams.telemetry.facts import Scribe

__all__ = ["ProposalsJudged"]


@dataclass(frozen=True, slots=True)
class ProposalsJudged:
    """Decisions were committed for which a planner was asked.

    Attributes:
        results: by outcome and reason, as decision records have it.
        costs: of the planner's answers, by currency, in units of it.
    """

    results: Mapping[tuple[str, str], int]
    costs: Mapping[str, float]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for (outcome, reason), count in self.results.items():
            scribe.meters.proposals.add(count, outcome, reason)
        for currency, amount in self.costs.items():
            scribe.meters.planning_cost.add(amount, currency)
