"""Budgets of a pipeline file: what they compile to. What is wrong with them is in bad_input.txt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.agents.budgets.rule import budget_text
from batuta.agents.models.answers import NANO
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., Path]
PRICED = "timeout: 20ms, cost: 0.0123456789 EUR}\nbudget: "


def test_budgets_compile_to_their_rules(parcels: Write) -> None:
    text = (
        "[{limit: 50 EUR, at: {95%: stop, 80%: warn}}, "
        "{name: own, limit: 2.5 EUR, per: hour, each: tenant, models: [scales]}]"
    )
    plan = load_file(parcels("timeout: 20ms}", PRICED + text)).loaded.plan
    assert [budget_text(rule) for rule in plan.budgets] == [
        "budget daily: 50 EUR per day, 80% warn, 95% stop",
        "budget own: 2.5 EUR per hour for each tenant on scales, 100% stop",
    ]


def test_a_price_is_paid_as_it_is_reserved_to_the_last_billionth(parcels: Write) -> None:
    plan = load_file(parcels("timeout: 20ms}", PRICED + "{limit: 1 EUR}")).loaded.plan
    spending, terms = plan.delegating.spending, plan.delegating.terms["scales"]
    assert spending is not None
    assert spending.tariffs["scales"].row_nano == terms.price_nano == 12_345_679
    assert plan.budgets[0].limit_nano == NANO
