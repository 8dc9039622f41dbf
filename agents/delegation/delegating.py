"""What the conductor delegates by: plans, who chooses among them, and what each model may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batuta.agents.budgets.spending import Spending
from batuta.agents.delegation.people import Person
from batuta.agents.delegation.plans import Ask, Node
from batuta.agents.delegation.terms import Terms
from batuta.agents.selection.choosing import Chooser, Only
from batuta.agents.selection.planner import Planner

__all__ = ["Delegating"]


@dataclass(frozen=True)
class Delegating:
    """The compiled plans of a pipeline.

    Attributes:
        plans: by name; those that may be chosen.
        chooser: picks one per event.
        terms: of each model, by name.
        people: who are asked as models are, by name.
        checked: what the expressions of checkpoints name.
        stale_ms: features older than this are stale; None: none ever is.
        spending: the budgets that calls are paid from; None where there are none.
        planner: who proposes plans beside these; None where nobody does.
        understood_by: the model that is asked about each event before its plan is chosen; None
            where plans are chosen by what is known already.
    """

    plans: Mapping[str, Node]
    chooser: Chooser
    terms: Mapping[str, Terms] = field(default_factory=dict[str, Terms])
    people: Mapping[str, Person] = field(default_factory=dict[str, Person])
    checked: frozenset[str] = frozenset()
    stale_ms: int | None = None
    spending: Spending | None = None
    planner: Planner | None = None
    understood_by: str | None = None

    @property
    def bills(self) -> bool:
        """Whether an answer may cost something: a price is named, or a server's reply may bill."""
        served = any(terms.breaker is not None for terms in self.terms.values())
        return served or any(terms.price_nano for terms in self.terms.values())

    @classmethod
    def to(cls, model: str) -> "Delegating":
        """Ask one model about everything."""
        return cls({"only": Ask(model)}, Only("only"))
