"""Budgets, compiled: whether a file's budgets can be kept, and what its models cost at most."""

from collections import Counter
from dataclasses import replace
from typing import Final

from batuta.agents.budgets.ladder import Ladder, Step
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.budgets.spending import Spending, Tariff
from batuta.agents.compiler.faults import Faults
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import Node, models_of
from batuta.agents.models.prices import nano
from batuta.schemas.pipeline_file.budget_entries import BudgetEntry
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path, did_you_mean

__all__ = ["budgeted", "budgets_of", "most_nano", "spending_of"]

_NAMES: Final = {"hour": "hourly", "day": "daily", "month": "monthly"}
#: What a chat request carries beside task and row: the names around them, and the answer's schema.
_FRAME_BYTES: Final = 16_384
#: So long a row is taken to be where plans are compared by what they cost.
_TYPICAL_BYTES: Final = 2_048


def budgeted(
    file: PipelineFile, delegating: Delegating, faults: Faults
) -> tuple[tuple[BudgetRule, ...], Delegating]:
    """Return the budgets of a file, and its plans as they are paid from them."""
    rules = budgets_of(file, faults)
    faults.settle()
    return rules, replace(delegating, spending=spending_of(file, rules, delegating))


def budgets_of(file: PipelineFile, faults: Faults) -> tuple[BudgetRule, ...]:
    """Return the budgets of a file; a model that one pays for must say what it costs."""
    rules: list[BudgetRule] = []
    names: Counter[str] = Counter()
    for number, entry in enumerate(file.budget):
        path: Path = ("budget",) if len(file.budget) == 1 else ("budget", number)
        name = entry.name or _NAMES[entry.per]
        names[name] += 1
        if names[name] > 1:
            faults.add(path, name, "names two budgets; give each a name of its own", key=True)
        if entry.limit.amount <= 0:
            faults.add((*path, "limit"), str(entry.limit.amount), "buys nothing; raise it above 0")
        _check_models(file, entry, path, faults)
        rules.append(
            BudgetRule(
                name=name,
                limit_nano=nano(entry.limit.amount),
                currency=entry.limit.currency,
                per=entry.per,
                models=frozenset(entry.models),
                each_tenant=entry.each == "tenant",
                ladder=_ladder(entry, path, faults),
            )
        )
    return tuple(rules)


def spending_of(
    file: PipelineFile, rules: tuple[BudgetRule, ...], delegating: Delegating
) -> Spending | None:
    """Return how calls are paid for; None where there are no budgets."""
    if not rules:
        return None
    tariffs = {name: _tariff(entry) for name, entry in file.models.items()}

    def cost(plan: str) -> int:
        return _cost(delegating.plans[plan], tariffs)

    by_cost = tuple(sorted(delegating.plans, key=cost))
    return Spending(f"{file.pipeline}@{file.version}", rules, tariffs, by_cost)


def most_nano(entry: ModelEntry) -> int:
    """Return the most that asking a model about one event costs, one of typical length."""
    tariff = _tariff(entry)
    read_nano = -(-tariff.byte_nano * (tariff.frame_bytes + _TYPICAL_BYTES) // 1_000_000)
    return tariff.attempts * (tariff.row_nano + read_nano)


def _cost(plan: Node, tariffs: dict[str, Tariff]) -> int:
    return sum(
        tariffs[model].row_nano + tariffs[model].byte_nano * _TYPICAL_BYTES // 1_000_000
        for model in models_of(plan, remedies=False)
    )


def _check_models(file: PipelineFile, entry: BudgetEntry, path: Path, faults: Faults) -> None:
    for number, name in enumerate(entry.models):
        if name not in file.models:
            remedy = did_you_mean(name, list(file.models), what="models")
            faults.add((*path, "models", number), name, f"is no model; {remedy}")
    currency = entry.limit.currency
    for name, model in file.models.items():
        # People are no calls: what they cost is bounded by how many of them there are.
        if (entry.models and name not in entry.models) or model.kind == "human":
            continue
        prices = [model.cost] if model.cost is not None else []
        prices += [model.prices.input, model.prices.output] if model.prices is not None else []
        if not prices:
            what = f"has no price, and a budget pays for it; add cost: 0.001 {currency}, or 0"
            faults.add(("models", name), name, f"{what} {currency} if it is free", key=True)
        if foreign := next((one for one in prices if one.currency != currency), None):
            what = f"is not the currency of {name}'s price, {foreign.currency}; keep to one"
            faults.add((*path, "limit"), currency, what)


def _ladder(entry: BudgetEntry, path: Path, faults: Faults) -> Ladder:
    steps = tuple(sorted(Step(share, rung) for share, rung in entry.at.items()))
    for step in steps:
        if not 0.0 < step.share <= 1.0:
            what = "is no share of the limit; write more than 0% and at most 100%"
            faults.add((*path, "at"), f"{100 * step.share:g}%", what)
    if not 0.0 < entry.sample <= 1.0:
        what = "asks about nothing; write more than 0% and at most 100%"
        faults.add((*path, "sample"), f"{100 * entry.sample:g}%", what)
    return Ladder(tuple(sorted(steps, key=lambda step: step.share)), entry.sample)


def _tariff(entry: ModelEntry) -> Tariff:
    row_nano = nano(entry.cost.amount) if entry.cost is not None else 0
    attempts = 1 + (entry.retry.times if entry.retry is not None else 0)
    attempts += int(bool(entry.hedge)) * attempts
    if entry.prices is None:
        return Tariff(row_nano, attempts=attempts)
    row_nano += -(-nano(entry.prices.output.amount) * entry.tokens // 1_000_000)
    frame_bytes = _FRAME_BYTES + 2 * len((entry.task or "").encode())
    return Tariff(row_nano, nano(entry.prices.input.amount), frame_bytes, attempts)
