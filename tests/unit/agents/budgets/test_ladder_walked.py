"""Every step of a ladder does what it says, to the tenants, models and windows it is for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from batuta.agents.models.answers import NANO
from batuta.schemas.lease import LimitChange

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Open = Any


def test_without_steps_events_are_asked_about_until_nothing_is_left(till: Open) -> None:
    shop = till("{limit: 1 EUR}")
    decided = shop.sell(30)
    assert Counter(one.reasons[0] for one in decided) == {"fine": 10, "budget_spent": 20}
    assert shop.models["dear"].rows == 10
    assert {one.outcome for one in decided if one.reasons[0] == "budget_spent"} == {"review"}
    assert [one.labels["rung"] for one in shop.told] == ["stop"]
    assert shop.sell(5)[0].reasons[0] == "budget_spent"


def test_people_are_told_of_a_step_once_per_window(till: Open) -> None:
    shop = till("{limit: 1 EUR, at: {50%: warn, 80%: warn}}")
    for _ in range(30):
        shop.sell(1, batches=2)
    assert [one.title for one in shop.told] == [
        "budget daily: warn",
        "budget daily: warn",
        "budget daily: stop",
    ]
    assert [one.severity for one in shop.told] == ["warning", "warning", "critical"]
    assert shop.told[0].summary == "50 % of 1 EUR per day are spent or leased."
    shop.now_ms += DAY_MS
    for _ in range(9):
        shop.sell(1, batches=2)
    assert [one.labels["rung"] for one in shop.told[3:]] == ["warn", "warn"]


def test_from_cheaper_on_events_follow_the_cheapest_plan_and_say_so(till: Open) -> None:
    shop = till("{limit: 2 EUR, at: {50%: cheaper}}")
    decided = [one for _ in range(60) for one in shop.sell(1, batches=3)]
    plans = [one.selection.plan for one in decided if one.reasons[0] == "fine"]
    first = plans.index("fast")
    assert 5 <= first <= 12
    assert set(plans[first:]) == {"fast"}, "what holds on one step holds on those above it"
    saved = next(one.selection for one in decided if one.selection.plan == "fast")
    assert (saved.by, saved.propensity) == ("budget", 1.0)
    assert saved.reason == "budget daily is nearly used up, and fast is the cheapest plan"
    assert shop.billed_nano() <= 2 * NANO


def test_a_warning_further_up_takes_nothing_back(till: Open) -> None:
    shop = till("{limit: 2 EUR, at: {20%: warn, 50%: cheaper, 60%: warn}}")
    decided = [one for _ in range(60) for one in shop.sell(1, batches=3)]
    plans = [one.selection.plan for one in decided if one.reasons[0] == "fine"]
    assert set(plans[plans.index("fast") :]) == {"fast"}


def test_on_sample_a_share_of_the_events_is_asked_about_always_the_same(till: Open) -> None:
    asked: list[set[str]] = []
    for _ in range(2):
        shop = till("{limit: 10 EUR, at: {20%: sample}, sample: 25%}")
        decided = shop.sell(30) + shop.sell(120)
        late = {one.event_id: one.reasons[0] for one in decided[30:]}
        asked.append({name for name, reason in late.items() if reason == "fine"})
        assert set(late.values()) == {"fine", "budget_spent"}
        assert 15 <= len(asked[-1]) <= 45
    assert asked[0] == asked[1]


def test_on_queue_events_wait_until_the_window_turns(till: Open) -> None:
    shop = till("{limit: 1 EUR, per: hour, at: {100%: queue}}")
    decided = shop.sell(15)
    assert Counter(one.reasons[0] for one in decided) == {"fine": 10}
    assert shop.lot.entries() == 5
    shop.now_ms += HOUR_MS // 2
    assert shop.sell(0) == []
    assert shop.lot.entries() == 5, "the deadline of 60s does not end who waits for the window"
    shop.now_ms += HOUR_MS // 2
    waited = shop.sell(0)
    assert Counter(one.reasons[0] for one in waited) == {"fine": 5}
    assert shop.lot.entries() == 0


def test_on_stop_no_model_is_asked_though_a_part_of_the_limit_is_left(till: Open) -> None:
    shop = till("{limit: 1 EUR, at: {50%: stop}}")
    assert Counter(one.reasons[0] for one in shop.sell(30)) == {"fine": 5, "budget_spent": 25}
    assert shop.standing().left_nano == 0


def test_each_tenant_has_a_budget_of_its_own(till: Open) -> None:
    shop = till("{limit: 0.50 EUR, each: tenant}")
    for tenant, count in (("acme", 20), ("bolt", 3), ("acme", 5)):
        shop.sell(count, tenant)
    assert shop.models["dear"].rows == 5 + 3
    assert shop.standing("daily/acme").left_nano == 0
    assert shop.standing("daily/bolt").left_nano > 0
    assert {one.tenant for one in shop.told} == {"acme"}


def test_two_tenants_of_one_batch_pay_each_from_their_own(till: Open) -> None:
    shop = till("{limit: 0.50 EUR, each: tenant}")
    shop.sell(0)
    mixed = [shop.event(tenant) for tenant in ("acme", "bolt") * 10]
    decided = shop.batch(*mixed)
    for _ in range(25):
        decided += shop.batch()
    fine = Counter(one.tenant for one in decided if one.reasons[0] == "fine")
    assert fine == {"acme": 5, "bolt": 5}


def test_a_budget_of_some_models_leaves_the_others_alone(till: Open) -> None:
    shop = till(
        "{limit: 0.30 EUR, models: [dear]}",
        select="{among: [deep, fast], weights: {deep: 1, fast: 1}}",
    )
    decided = shop.sell(60)
    by_plan = Counter((one.selection.plan, one.reasons[0]) for one in decided)
    assert by_plan["deep", "fine"] == 3
    assert by_plan["fast", "budget_spent"] == 0
    assert by_plan["fast", "fine"] > 15


def test_of_two_budgets_the_one_that_ends_first_stops(till: Open) -> None:
    shop = till("[{limit: 0.40 EUR, per: hour}, {limit: 0.60 EUR, per: day}]")
    assert Counter(one.reasons[0] for one in shop.sell(10)) == {"fine": 4, "budget_spent": 6}
    shop.now_ms += HOUR_MS
    later = Counter(one.reasons[0] for one in shop.sell(10))
    assert later["fine"] <= 2, "of the day two are left"
    assert shop.models["dear"].rows <= 6


@pytest.mark.parametrize(("per", "width_ms"), [("hour", HOUR_MS), ("day", DAY_MS)])
def test_when_its_window_turns_the_whole_limit_is_there_again(
    till: Open, per: str, width_ms: int
) -> None:
    shop = till(f"{{limit: 0.50 EUR, per: {per}}}")
    for _ in range(3):
        assert Counter(one.reasons[0] for one in shop.sell(8)) == {"fine": 5, "budget_spent": 3}
        shop.now_ms += width_ms
    assert shop.models["dear"].rows == 15


def test_leases_that_are_out_as_the_window_turns_belong_to_the_former_one(till: Open) -> None:
    shop = till("{limit: 20 EUR, per: hour}")
    shop.sell(2)
    before = shop.standing("hourly").account
    assert before.leased_nano > 0
    shop.now_ms += HOUR_MS
    turned = shop.standing("hourly").account
    assert (turned.spent_nano, turned.leased_nano) == (0, 0)
    shop.sell(1)
    account = shop.standing("hourly").account
    assert account.window.start_ms == before.window.end_ms
    assert (account.spent_nano, set(account.leases) & set(before.leases)) == (0, set())


def test_unspent_leases_come_back(till: Open) -> None:
    shop = till("{limit: 20 EUR}")
    shop.sell(3)
    assert shop.standing().account.leased_nano > 0
    for _ in range(3):
        shop.now_ms += 31_000
        shop.batch()
    account = shop.standing().account
    assert (account.leased_nano, account.spent_nano) == (0, 3 * NANO // 10)


class TestLimitsByHand:
    """Limits that somebody sets."""

    def test_a_raised_limit_lets_models_be_asked_again(self, till: Open) -> None:
        shop = till("{limit: 0.50 EUR}")
        assert Counter(one.reasons[0] for one in shop.sell(8))["fine"] == 5
        shop.limit(0.80)
        shop.now_ms += 31_000
        shop.batch()
        assert Counter(one.reasons[0] for one in shop.sell(8))["fine"] == 3
        assert shop.standing().account.set_by_hand

    def test_one_below_what_is_leased_stops_new_leases_and_says_so(self, till: Open) -> None:
        shop = till("{limit: 10 EUR}")
        shop.sell(20)
        before = shop.standing().account.used_nano
        shop.limit(1.0)
        standing = shop.standing()
        assert "are spent or leased already, more than 1 EUR: nothing more is " in standing.warning
        decided = [one for _ in range(20) for one in shop.sell(3, batches=1)]
        assert decided[-1].reasons[0] == "budget_spent"
        assert shop.billed_nano() <= before, "no more than was leased before the limit fell"
        shop.now_ms += DAY_MS
        shop.sell(30)
        assert shop.standing().account.used_nano <= NANO
        assert shop.standing().warning == ""

    def test_the_files_limit_comes_back_and_what_was_said_before_changes_nothing(
        self, till: Open
    ) -> None:
        shop = till("{limit: 1 EUR}")
        shop.limit(0.0)
        stale_ms = shop.now_ms
        assert Counter(one.reasons[0] for one in shop.sell(3)) == {"budget_spent": 3}
        shop.now_ms += 1_000
        shop.limit(None)
        assert shop.standing().account.limit_nano == NANO
        assert not shop.standing().account.set_by_hand
        shop.own(LimitChange("daily", 5, stale_ms))
        assert shop.standing().account.limit_nano == NANO


def test_a_budget_ends_when_it_goes_on_as_in_its_window_so_far(till: Open) -> None:
    shop = till("{limit: 10 EUR}")
    assert shop.standing().forecast.ends_at_ms is None
    shop.now_ms += HOUR_MS
    for _ in range(10):
        shop.sell(1, batches=2)
    for _ in range(3):
        shop.now_ms += 31_000
        shop.batch()
    standing = shop.standing()
    assert standing.account.spent_nano == NANO
    ahead = standing.forecast
    assert ahead.ends_at_ms is not None
    hours = (ahead.ends_at_ms - standing.account.window.start_ms) / HOUR_MS
    assert 10.0 < hours < 10.5, "a tenth went in an hour and some seconds"
    assert ahead.basis == "the mean of the window's first 1.03 h"
    shop.limit(0.5)
    assert shop.standing().forecast.ends_at_ms == shop.now_ms


BILLS: dict[str, tuple[Callable[[int], tuple[int, str]], float]] = {
    "nothing": (lambda rows: (0 * rows, ""), 0.10),
    "less than the price": (lambda rows: (rows * NANO // 20, "EUR"), 0.05),
    "less than nothing": (lambda rows: (-rows * NANO, "EUR"), 0.10),
    "another currency": (lambda rows: (rows * NANO // 1000, "USD"), 0.10),
    "beyond all measure": (lambda rows: (rows * 10**30, "EUR"), 0.10),
    "ten times the price": (lambda rows: (rows * NANO, "EUR"), 1.0),
}


@pytest.mark.parametrize("bill", BILLS)
def test_a_bill_counts_as_far_as_it_can_be_believed(till: Open, bill: str) -> None:
    shop = till("{limit: 100 EUR}")
    shop.models["dear"].bill, euros = BILLS[bill]
    decided = shop.sell(4)
    assert {(one.answers[0].cost_nano, one.answers[0].currency) for one in decided} == {
        (round(euros * NANO), "EUR")
    }
    for _ in range(3):
        shop.now_ms += 31_000
        shop.batch()
    assert shop.standing().account.spent_nano == round(4 * euros * NANO)


def test_who_understands_is_paid_as_anybody_and_the_cheapest_plan_stands_after(till: Open) -> None:
    rule = '{when: "cheap.score < 0.5", among: [deep, fast]}'
    weights = "weights: {deep: 1, fast: 0}"
    understood = f"{{understand: cheap, among: [deep, fast], {weights}, rules: [{rule}]}}"
    shop = till("{limit: 2 EUR, at: {50%: cheaper}}", select=understood)
    decided = [one for _ in range(60) for one in shop.sell(1, batches=3)]
    selections = [one.selection for one in decided]
    assert {one.plan for one in selections[:5]} == {"deep"}
    saved = next(one for one in selections if one.by == "budget")
    assert saved.reason == "budget daily is nearly used up, and fast is the cheapest plan"
    spent = shop.sell(200, batches=30)[-1]
    assert spent.reasons[0] == "budget_spent"
    assert spent.selection.reason.endswith("cheap budget_spent")
    assert shop.billed_nano() <= 2 * NANO
