"""Spending: how a pipeline's budgets are paid from, event by event.

A call is paid for before it is made: at the most its rows may cost, by every budget that holds for
its model. Rows that there is not enough for wait for a lease, or for the window to turn, or are
refused: their plan goes on by its own rule, as after any failure, and a person decides where it
leads nowhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from batuta.agents.budgets.ladder import Rung
from batuta.agents.budgets.purse import Purse, Ticket
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.delegation.heard import Indexes
from batuta.agents.models.port import Matrix
from batuta.agents.selection.choosing import draw
from batuta.schemas.decision import Selection
from batuta.schemas.ingested import Ingested

__all__ = ["Admitted", "Paid", "Payment", "Spending", "Tariff"]

_MILLION: Final = 1_000_000
#: So soon a lease may have come that is under way, and so soon a window may have turned.
_LEASE_LOOK_MS: Final = 10
_WINDOW_LOOK_MS: Final = 1_000
Inputs = Matrix | list[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Tariff:
    """The most that asking one model about one row may cost, in billionths.

    Attributes:
        row_nano: whatever the row is.
        byte_nano: per million bytes of it: a token is at least one byte.
        frame_bytes: what is sent beside the row.
        attempts: how often one call may be made at most, retries and hedges counted.
    """

    row_nano: int = 0
    byte_nano: int = 0
    frame_bytes: int = 0
    attempts: int = 1

    @property
    def free(self) -> bool:
        """Whether nothing is ever billed."""
        return not self.row_nano and not self.byte_nano

    def most_nano(self, inputs: Callable[[], Inputs]) -> int:
        """Return the most that one attempt at the dearest row may cost."""
        if not self.byte_nano:
            return self.row_nano
        found = inputs()
        # Twice: the row is sent as a text within JSON, and each quote is escaped.
        longest = 0 if isinstance(found, np.ndarray) else 2 * max(map(_length, found), default=0)
        return self.row_nano - (-(longest + self.frame_bytes) * self.byte_nano // _MILLION)


class Paid(NamedTuple):
    """Rows that are paid for, by which ticket, and at how much for one attempt at all of them."""

    rows: Indexes
    ticket: Ticket | None
    attempt_nano: int = 0


class Admitted(NamedTuple):
    """What becomes of the rows that a model is to be asked about.

    Attributes:
        paid: they can be asked about now.
        refused: they cannot.
        again_ms: after so long the others may be looked at again; None where there are none.
    """

    paid: list[Paid]
    refused: Indexes
    again_ms: int | None = None


@dataclass(frozen=True)
class Spending:
    """The budgets of a pipeline, and what its models and plans cost.

    Attributes:
        identity: what draws repeat by.
        tariffs: by model.
        by_cost: the candidate plans, the cheapest first.
    """

    identity: str
    rules: tuple[BudgetRule, ...]
    tariffs: Mapping[str, Tariff]
    by_cost: tuple[str, ...]

    def least_nano(self, rule: BudgetRule) -> int:
        """Return what asking about one event may cost at most, of the dearest model it pays for."""
        paid = [one for name, one in self.tariffs.items() if rule.holds_for(name)]
        return max((one.row_nano * one.attempts for one in paid), default=1) or 1

    def ids_of(self, events: Sequence[Ingested]) -> list[str]:
        """Return the ids of the budgets that pay for events."""
        if not events:
            return []
        tenants = dict.fromkeys(event.tenant for event in events)
        return [id_ for rule in self.rules for id_ in dict.fromkeys(map(rule.id_of, tenants))]


@dataclass
class Payment:
    """How one question is paid for.

    Attributes:
        events: that it is about.
    """

    spending: Spending
    purse: Purse
    events: Sequence[Ingested]
    _tenants: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Note whose events they are."""
        self._tenants = tuple(dict.fromkeys(event.tenant for event in self.events))

    def admit(self, model: str, rows: Indexes, inputs: Callable[[Indexes], Inputs]) -> Admitted:
        """Pay for rows, as many as there is enough for.

        Args:
            model: that is to be asked.
            rows: about which it is to be asked.
            inputs: what it would be given about some of them.
        """
        tariff = self.spending.tariffs[model]
        rules = [rule for rule in self.spending.rules if rule.holds_for(model)]
        if tariff.free or not rules:
            return Admitted([Paid(rows, None)], rows[:0])
        most_nano = tariff.most_nano(lambda: inputs(rows))
        sampled, refused = self._sampled(rules, rows)
        paid: list[Paid] = []
        left_out = [refused]
        again_ms: list[int] = []
        for tenant, theirs in self._by_tenant(rules, sampled):
            budgets = [rule.id_of(tenant) for rule in rules]
            row_nano = most_nano * tariff.attempts
            held = self.purse.reserve(budgets, row_nano, len(theirs))
            if held.rows:
                paid.append(Paid(theirs[: held.rows], held.ticket, held.rows * most_nano))
            if held.rows < held.bound:
                again_ms.append(_LEASE_LOOK_MS)
            if held.short == "queue":
                again_ms.append(_WINDOW_LOOK_MS)
            elif held.short == "spent":
                left_out.append(theirs[held.bound :])
        return Admitted(paid, np.concatenate(left_out), min(again_ms, default=None))

    def settle(self, paid: Paid, cost_nano: int, attempts: int) -> None:
        """Count what a call cost: its answer, and at most as much for each attempt before."""
        if paid.ticket is not None:
            self.purse.settle(paid.ticket, cost_nano + (attempts - 1) * paid.attempt_nano)

    def fail(self, paid: Paid, attempts: int) -> None:
        """Count the most that a call without answer may have cost, made so often."""
        if paid.ticket is not None:
            self.purse.settle(paid.ticket, attempts * paid.attempt_nano)

    def cheaper(
        self, choices: Sequence[Selection], at: Indexes | None = None
    ) -> Sequence[Selection]:
        """Return choices, those of events whose budget is that far up its ladder the cheapest.

        Args:
            choices: one per event.
            at: of which events; None: of all.
        """
        if len(self.spending.by_cost) < 2 or not choices:  # noqa: PLR2004 - no other to choose
            return choices
        saving = {tenant: self._saving(tenant) for tenant in self._tenants}
        if not any(saving.values()):
            return choices
        events = self.events if at is None else [self.events[row] for row in at.tolist()]
        return [
            _cheapest(choice, self.spending.by_cost, saving[event.tenant])
            for event, choice in zip(events, choices, strict=True)
        ]

    def patience_ms(self) -> int:
        """Return how much longer than usual an event may wait, since its window has to turn."""
        waits = [
            self.purse.until_ms(budget) - self.purse.now_ms
            for budget in self.spending.ids_of(self.events)
            if self.purse.rung(budget) == "queue"
        ]
        return max(waits, default=0)

    def _saving(self, tenant: str) -> str:
        """Return the budget for whose sake the cheapest plan is followed; empty for none."""
        for rule in self.spending.rules:
            if self._holds("cheaper", rule, tenant):
                return rule.name
        return ""

    def _sampled(self, rules: Sequence[BudgetRule], rows: Indexes) -> tuple[Indexes, Indexes]:
        """Return the rows that are asked about, and those that a sample leaves out."""
        keep: npt.NDArray[np.bool_] = np.ones(len(rows), np.bool_)
        for rule in rules:
            sampled = {tenant for tenant in self._tenants if self._holds("sample", rule, tenant)}
            for place, row in enumerate(rows.tolist() if sampled else ()):
                event = self.events[row]
                if event.tenant in sampled:
                    drawn = draw(
                        "sample", self.spending.identity, rule.name, event.tenant, event.event_id
                    )
                    keep[place] &= drawn < rule.ladder.sample
        return rows[keep], rows[~keep]

    def _holds(self, rung: Rung, rule: BudgetRule, tenant: str) -> bool:
        """Say whether a budget is as far up its ladder as a rung, for a tenant."""
        if all(step.rung != rung for step in rule.ladder.steps):
            return False
        return rung in rule.ladder.upto(self.purse.rung(rule.id_of(tenant)))

    def _by_tenant(self, rules: Sequence[BudgetRule], rows: Indexes) -> list[tuple[str, Indexes]]:
        if not len(rows):
            return []
        if len(self._tenants) == 1 or not any(rule.each_tenant for rule in rules):
            return [(self._tenants[0], rows)]
        found: dict[str, list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.events[row].tenant, []).append(row)
        return [(tenant, np.array(theirs, np.intp)) for tenant, theirs in found.items()]


def _cheapest(choice: Selection, by_cost: Sequence[str], budget: str) -> Selection:
    plan = next((name for name in by_cost if name in choice.candidates), choice.plan)
    if not budget or plan == choice.plan:
        return choice
    reason = f"budget {budget} is nearly used up, and {plan} is the cheapest plan"
    chances = {name: float(name == plan) for name in choice.candidates}
    return choice._replace(
        plan=plan, by="budget", reason=reason, propensity=1.0, candidates=chances, proposal=""
    )


def _length(row: Mapping[str, object]) -> int:
    return len(orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS))
