"""Tenants come and go: their budgets leave the state of owner and lane, and begin anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.agents.budgets.account import Account
from batuta.agents.models.answers import NANO

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Till

    from batuta.agents.budgets.purse import Purse

    Open = Callable[..., Till]

BUDGET = "{limit: 0.50 EUR, each: tenant}"
HOUR_MS = 3_600_000


def days_later(shop: Till, days: int = 1) -> None:
    """Let windows turn, with a batch in which leases that nobody needs go back."""
    shop.now_ms += days * 24 * HOUR_MS
    shop.batch()
    shop.now_ms += 2 * HOUR_MS
    shop.batch()
    shop.own()


def purse_of(shop: Till) -> Purse:
    assert shop.state.wallet is not None
    return shop.state.wallet.purse


def budgets_of(shop: Till) -> tuple[set[str], set[str]]:
    """Return of whom the owner and of whom the lane knows."""
    return {name for name, _ in shop.accounts.items()}, {
        name for name, _ in purse_of(shop).table.items()
    }


def test_whoever_asks_no_more_is_forgotten_once_the_window_has_turned(till: Open) -> None:
    shop = till(BUDGET)
    tenants = {f"daily/t{number}" for number in range(20)}
    for number in range(20):
        shop.sell(1, f"t{number}", batches=3)
    assert budgets_of(shop) == (tenants, tenants)
    shop.now_ms += HOUR_MS
    shop.batch()
    shop.own()
    assert budgets_of(shop) == (tenants, tenants), "their window has not turned"
    days_later(shop)
    assert budgets_of(shop) == (set(), set())


def test_who_comes_back_has_the_whole_limit(till: Open) -> None:
    shop = till(BUDGET)
    reasons = [one.reasons[0] for one in shop.sell(8, "acme")]
    assert reasons.count("fine") == 5, "then the limit is spent"
    # As the window turns the lane leases once more, for those that had too little.
    for _ in range(3):
        days_later(shop)
    assert budgets_of(shop) == (set(), set())
    again = [one.reasons[0] for one in shop.sell(8, "acme")]
    assert again.count("fine") == 5
    assert shop.standing("daily/acme").account.used_nano == NANO // 2


def test_who_comes_back_is_heard_by_an_owner_that_knows_its_lane(till: Open) -> None:
    """Another lane keeps the account alive: what this one asks must not look like said before."""
    shop = till(BUDGET)
    shop.sell(3, "acme")
    account = shop.accounts.get("daily/acme")
    days_later(shop)
    shop.accounts.begin()
    shop.accounts.put("daily/acme", account)
    shop.accounts.changes(shop.now_ms)
    shop.accounts.commit()
    assert [one.reasons[0] for one in shop.sell(3, "acme")] == ["fine"] * 3


def test_a_limit_set_by_hand_is_kept(till: Open) -> None:
    shop = till(BUDGET)
    shop.sell(1, "acme")
    shop.limit(0.30, "daily/acme")
    days_later(shop, days=40)
    assert budgets_of(shop) == ({"daily/acme"}, set())
    assert Account.read(shop.accounts.get("daily/acme")).limit_nano == 3 * NANO // 10
    assert [one.reasons[0] for one in shop.sell(8, "acme")].count("fine") == 3
