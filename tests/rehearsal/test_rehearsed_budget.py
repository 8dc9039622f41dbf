"""A budget under faults: crashes, rebalances and late answers never spend more than the limit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from batuta.agents.budgets.account import Account
from batuta.agents.budgets.purse import Purse
from batuta.streams.cli.pipelines import shipped_pipeline
from batuta.streams.rehearsal.budget_play import BudgetPlay
from batuta.streams.rehearsal.seed_run import run_seed
from batuta.streams.rehearsal.world import Cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batuta.agents.budgets.lane_leases import Entry
    from batuta.schemas.lease import ClosedLease, LeaseGrant

#: How many seeds a mutant may survive.
SEEDS_MAX = 6


@pytest.fixture(scope="module")
def budgeted() -> Cast:
    """The real parts, under a budget."""
    return Cast((partial(BudgetPlay, shipped_pipeline("fraud")),))


@pytest.mark.parametrize("seed", range(1, 6))
def test_never_more_is_billed_than_the_limit(seed: int, budgeted: Cast) -> None:
    report = run_seed(seed, budgeted)
    assert not report.violations
    assert report.events >= 500


def _found(budgeted: Cast) -> bool:
    seeds = range(1, SEEDS_MAX + 1)
    return any(
        "bill" in one.detail or "lease" in one.detail
        for seed in seeds
        for one in run_seed(seed, budgeted).violations
    )


def test_leases_that_come_back_for_nothing_are_found(
    budgeted: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Account.closed

    def closed(self: Account, lane: int, lease: ClosedLease) -> Account:
        return right(self, lane, lease._replace(spent_nano=0))

    monkeypatch.setattr(Account, "closed", closed)
    assert _found(budgeted)


class _Trusting(Purse):
    """Gives back leases that another worker drew from as if nobody had."""

    def _closed(self, budget: str, entry: Entry) -> Iterator[ClosedLease]:
        mine = self._live.get(budget, {})
        for lease in super()._closed(budget, entry):
            yield lease if lease.number in mine else lease._replace(spent_nano=0)


class _Losing(Purse):
    """Takes every grant for one of nothing."""

    def take(self, grants: Iterable[LeaseGrant], now_ms: int) -> list[LeaseGrant]:
        return super().take([one._replace(granted_nano=0) for one in grants], now_ms)


@pytest.mark.parametrize("purse", [_Trusting, _Losing])
def test_a_wrong_purse_is_found(
    purse: type[Purse], budgeted: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batuta.agents.budgets.wallet.Purse", purse)
    assert _found(budgeted)
