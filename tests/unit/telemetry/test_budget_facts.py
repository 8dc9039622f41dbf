"""What a worker shows of budgets: how much is left, when they end, when their windows turn."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from batuta.agents.budgeting import Budgeted
from batuta.agents.budgets.account import Account
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.budgets.standing import BudgetStanding
from batuta.agents.budgets.windows import window_at
from batuta.schemas.decision import Decision, ModelAnswer
from batuta.schemas.decision_columns import DecisionColumns
from batuta.streams.stage_counts import count_budgets, count_costs
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

#: The beginning of a day, in UTC.
START_S = 1_700_006_400
HOUR_S = 3_600


def standing(budget: str, spent: int, leased: int, after_s: int) -> BudgetStanding:
    rule = BudgetRule("daily", 100, "EUR", each_tenant="/" in budget)
    now_ms = 1000 * (START_S + after_s)
    account = Account(100, window_at("day", now_ms), spent, {(0, 1): leased})
    return BudgetStanding.of(budget, rule, account, now_ms)


def shown(*standings: BudgetStanding) -> dict[str, float | None]:
    registry = CollectorRegistry()
    telemetry = StageTelemetry("fraud", "budgeting", registry)
    count_budgets(telemetry, Budgeted(standings={one.budget: one for one in standings}), 1)
    names = ("remaining_ratio", "end_timestamp_seconds", "window_end_timestamp_seconds")
    of = {"pipeline": "fraud", "budget": standings[0].budget}
    return {name: registry.get_sample_value(f"batuta_budget_{name}", of) for name in names}


def test_a_budget_that_goes_fast_ends_before_its_window() -> None:
    assert shown(standing("daily", 50, 10, 6 * HOUR_S)) == {
        "remaining_ratio": 0.4,
        "end_timestamp_seconds": START_S + 12 * HOUR_S,
        "window_end_timestamp_seconds": START_S + 24 * HOUR_S,
    }


def test_one_that_lasts_ends_with_its_window() -> None:
    found = shown(standing("daily", 5, 10, 6 * HOUR_S))
    assert found["end_timestamp_seconds"] == found["window_end_timestamp_seconds"]


def test_budgets_of_tenants_are_no_labels() -> None:
    assert set(shown(standing("daily/acme", 5, 10, HOUR_S)).values()) == {None}


def test_decisions_are_counted_with_all_that_their_answers_cost() -> None:
    registry = CollectorRegistry()
    telemetry = StageTelemetry("fraud", "scoring", registry)
    answers = (
        ModelAnswer("a", "a@0", 0.5, 0.5, cost_nano=1_000_000_000, currency="EUR"),
        ModelAnswer("b", "b@0", None, None, "invalid", 3, 500_000_000, "EUR"),
    )
    decision = Decision(
        "e1", "fraud", 1, "default", "k", 0, 0, "review", 0.5, ("fine",), "a@0", {}, 64 * "0",
        answers=answers,
    )  # fmt: skip
    count_costs(telemetry, DecisionColumns.of([decision, decision]))
    of = {"pipeline": "fraud", "outcome": "review", "currency": "EUR"}
    assert registry.get_sample_value("batuta_decision_cost_total", of) == 3.0
