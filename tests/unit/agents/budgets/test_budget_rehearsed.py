"""Budgets hold: lanes and owners crash, answers come late, twice or never, workers live on.

What models really cost is counted beside accounts and purses, by the window that paid for it, and
must never be more than the highest limit that the window had. Parts that are wrong are noticed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast

import pytest

from batuta.agents.budgeting import Budgeting, BudgetingState
from batuta.agents.budgets.account import Account
from batuta.agents.budgets.lane_leases import Lease, Live
from batuta.agents.budgets.purse import Purse, Ticket
from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.context import Context
from batuta.agents.state.port import Change
from batuta.schemas.lease import ClosedLease, LeaseGrant, LeaseRequest, LimitChange

_LATE_MAX: Final = 50
_ROWS_MAX: Final = 8


@dataclass(slots=True)
class _Log:
    """A topic with one partition, and how far its reader has committed."""

    records: list[object] = field(default_factory=list[object])
    read: int = 0


@dataclass(slots=True)
class _Lane:
    """One lane: its purse, and what a new owner would restore."""

    number: int
    purse: Purse
    grants: _Log = field(default_factory=_Log)
    changelog: dict[bytes, bytes | None] = field(default_factory=dict[bytes, bytes | None])


@dataclass
class Rehearsal:
    """One budget, `lanes` lanes, one owner.

    Attributes:
        cost: what the models really cost, by the end of the window that paid for it.
        limits: the highest limit that each window had.
        asked: how many rows were asked about.
    """

    rule: BudgetRule
    lanes: int
    random: Random
    open_purse: Callable[[Sequence[BudgetRule]], Purse] = Purse
    open_owner: Callable[[str, Sequence[BudgetRule]], Budgeting] = Budgeting
    now_ms: int = 1_700_000_000_000
    may_limit: bool = True
    cost: Counter[int] = field(default_factory=Counter[int])
    limits: Counter[int] = field(default_factory=Counter[int])
    asked: int = 0

    def __post_init__(self) -> None:
        """Open everything empty."""
        self.owner = self.open_owner("rehearsed", (self.rule,))
        self.state = self.owner.open_state()
        self._owner_changelog: dict[bytes, bytes | None] = {}
        self._requests = _Log()
        self._lanes = [_Lane(n, self.open_purse((self.rule,))) for n in range(self.lanes)]
        self._zombies: list[Purse] = []
        self._calls: list[tuple[Purse, Ticket, int]] = []
        self._limit_nano = self.rule.limit_nano

    def run(self, steps: int) -> None:
        """Take so many steps."""
        moves = (
            *(self._lane_batch,) * 12,
            *(self._owner_batch,) * 6,
            *(self._answer,) * 8,
            *(self._tick,) * 3,
            self._lane_crash,
            self._lane_crash,
            self._owner_crash,
            self._zombie,
            self._zombie,
            self._limit,
        )
        for _ in range(steps):
            self.random.choice(moves)()

    def calm(self, steps: int) -> None:
        """Take so many steps in which nothing fails and nobody is late."""
        for _ in range(steps):
            self._batch(self.random.choice(self._lanes), committed=True, events=True)
            self._own(5, committed=True)
            while self._calls:
                purse, ticket, cost = self._calls.pop()
                purse.settle(ticket, cost)
                purse.settle(ticket, cost)

    def account(self) -> Account:
        """Return the account as it stands."""
        return Account.read(self.state.get(self.rule.id_of("default")))

    def settle_all(self) -> None:
        """Answer everything, let leases fall idle, and hear what lanes give back."""
        while self._calls:
            self._answer()
        for _ in range(4):
            for lane in self._lanes:
                self._batch(lane, committed=True, events=False)
            self._own(len(self._requests.records), committed=True)
            self.now_ms += 31_000

    def _lane_batch(self) -> None:
        lane = self.random.choice(self._lanes)
        self._batch(lane, committed=self.random.random() < 0.85, events=True)

    def _batch(self, lane: _Lane, *, committed: bool, events: bool) -> None:
        purse = lane.purse
        purse.table.begin()
        fresh = [
            one for one in lane.grants.records[lane.grants.read :] if isinstance(one, LeaseGrant)
        ]
        read = len(lane.grants.records)
        taken = purse.take(fresh, self.now_ms)
        budgets = (self.rule.id_of("default"),) if events else ()
        requests = purse.tend(budgets, lane.number, self.now_ms)
        changes = purse.table.changes(self.now_ms)
        if events:
            self._ask(purse)
        if not committed:
            purse.table.rollback()
            return
        _keep(lane.changelog, changes)
        lane.grants.read = read
        self._requests.records.extend(requests)
        purse.table.commit()
        purse.opened(taken)

    def _ask(self, purse: Purse) -> None:
        row_nano = self.random.choice((1, 7, 20))
        rows = self.random.randint(1, _ROWS_MAX)
        budget = self.rule.id_of("default")
        until = purse.ends_of(budget)
        count, ticket, *_ = purse.reserve((budget,), row_nano, rows)
        if ticket is None:
            return
        self.asked += count
        most = count * row_nano
        cost = self.random.choice((most, most, self.random.randint(0, most)))
        # The window that pays: a lease of the last one may stand beside one of this.
        self.cost[until[ticket.parts[-1][1]]] += cost
        self._calls.append((purse, ticket, cost))

    def _answer(self) -> None:
        """Settle a call; at times twice, at times never, at times as one that was not made."""
        if not self._calls:
            return
        place = self.random.randrange(min(len(self._calls), _LATE_MAX))
        purse, ticket, cost = self._calls.pop(place)
        fate = self.random.random()
        if fate < 0.1:
            return
        purse.settle(ticket, cost)
        if fate < 0.3:
            if self.random.random() < 0.5:
                purse.settle(ticket, cost)
            else:
                purse.release(ticket)

    def _owner_batch(self) -> None:
        count = self.random.randint(1, 5)
        self._own(count, committed=self.random.random() < 0.8)

    def _own(self, count: int, *, committed: bool) -> None:
        log, state = self._requests, self.state
        items = [
            one
            for one in log.records[log.read : log.read + count]
            if isinstance(one, LeaseRequest | LimitChange)
        ]
        state.begin()
        context: Context[BudgetingState] = Context(self.now_ms, 0, lambda _: 0, state)
        done = self.owner.budget(items, context)
        changes = state.changes(self.now_ms)
        if not committed:
            state.rollback()
            return
        state.commit()
        _keep(self._owner_changelog, changes)
        log.read += len(items)
        for grant in done.grants:
            self._lanes[grant.lane].grants.records.append(grant)
        for account in (one.account for one in done.standings.values()):
            end_ms, before_nano = account.window.end_ms, self._limit_nano
            changed = [one.limit_nano or 0 for one in items if isinstance(one, LimitChange)]
            self.limits[end_ms] = max(self.limits[end_ms], before_nano, *changed)
            self._limit_nano = account.limit_nano

    def _tick(self) -> None:
        self.now_ms += self.random.choice((10, 900, 20_000, 70_000, 300_000))

    def _lane_crash(self) -> None:
        """Let a new worker own a lane; the one before goes on as if nothing had happened."""
        lane = self.random.choice(self._lanes)
        self._zombies.append(lane.purse)
        lane.purse = self.open_purse((self.rule,))
        for key, value in lane.changelog.items():
            lane.purse.table.load(key, value)

    def _owner_crash(self) -> None:
        self.state = self.owner.open_state()
        for key, value in self._owner_changelog.items():
            self.state.load(key, value)

    def _zombie(self) -> None:
        """Let a worker that was replaced ask once more: its batch will be refused, not its call."""
        if self._zombies:
            self._ask(self.random.choice(self._zombies[-3:]))

    def _limit(self) -> None:
        if not self.may_limit:
            return
        nano = self.rule.limit_nano * self.random.choice((1, 2)) // 2
        self._requests.records.append(LimitChange(self.rule.id_of("default"), nano))


def _keep(changelog: dict[bytes, bytes | None], changes: Sequence[Change]) -> None:
    changelog.update(changes)


RULE: Final = BudgetRule("daily", 400, "EUR", per="day")
SEEDS: Final = 60


def _overspent(play: Rehearsal) -> dict[int, tuple[int, int]]:
    return {
        end: (cost, play.limits[end]) for end, cost in play.cost.items() if cost > play.limits[end]
    }


def _play(seed: int, **parts: Any) -> Rehearsal:
    play = Rehearsal(RULE, lanes=1 + seed % 4, random=Random(seed), **parts)
    play.run(600)
    # What is left goes where all answers come, each of them twice.
    play.calm(300)
    return play


def test_never_more_is_spent_than_the_limit() -> None:
    asked = 0
    for seed in range(SEEDS):
        play = _play(seed)
        assert not _overspent(play), f"seed {seed}"
        asked += play.asked
    assert asked > SEEDS * 50, "the budget lets somebody ask"


def test_never_more_is_spent_over_windows_that_turn_and_are_forgotten() -> None:
    forgotten = 0
    for seed in range(SEEDS // 3):
        rule = BudgetRule("hourly", 400, "EUR", per="hour")
        play = Rehearsal(rule, lanes=1 + seed % 4, random=Random(seed))
        # Limits set by hand are kept: nobody sets one here.
        play.may_limit = False
        for _ in range(4):
            play.run(150)
            play.now_ms += 3 * 3_600_000
            play.calm(3)
            forgotten += set(play.account().numbers) != set(range(play.lanes))
        play.calm(300)
        assert not _overspent(play), f"seed {seed}"
    assert forgotten


def test_unspent_leases_return() -> None:
    for seed in range(SEEDS // 2):
        play = Rehearsal(RULE, lanes=3, random=Random(seed))
        play.calm(80)
        play.settle_all()
        account = play.account()
        assert account.leased_nano == 0, f"seed {seed}"
        assert account.spent_nano == sum(play.cost.values()), f"seed {seed}"


class _SettlesTwice(Purse):
    """Gives back what a call has not cost once more with each settle."""

    def settle(self, ticket: Ticket, cost_nano: int) -> None:
        for budget, number in ticket.parts:
            live = self._live.get(budget, {}).get(number)
            if live is not None and ticket.call_id not in live.held:
                live.used_nano -= cost_nano
        super().settle(ticket, cost_nano)


class _DrawsAtOnce(Purse):
    """Draws from a lease before the batch that read it is committed."""

    def take(self, grants: Iterable[LeaseGrant], now_ms: int) -> list[LeaseGrant]:
        taken = super().take(grants, now_ms)
        self.opened(taken)
        return taken


class _TrustsTheChangelog(Purse):
    """Takes a lease that was loaded for one that nobody drew from."""

    def tend(self, budgets: Iterable[str], lane: int, now_ms: int) -> list[LeaseRequest]:
        for budget, value in self.table.items():
            for number, amount, until_ms in cast("Any", value)["leases"]:
                lease = Lease(number, amount, until_ms)
                self._live.setdefault(budget, {}).setdefault(number, Live(lease, "open"))
        return super().tend(budgets, lane, now_ms)


def _seen(**parts: Any) -> bool:
    return any(_overspent(_play(seed, **parts)) for seed in range(SEEDS))


@pytest.mark.parametrize("purse", [_SettlesTwice, _DrawsAtOnce, _TrustsTheChangelog])
def test_a_wrong_purse_is_noticed(purse: type[Purse]) -> None:
    assert _seen(open_purse=purse)


def test_a_lease_after_the_stop_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Account.leased

    def leased(self: Account, request: LeaseRequest, cap_nano: int) -> tuple[Account, int]:
        return right(self, request, 2 * cap_nano)

    monkeypatch.setattr(Account, "leased", leased)
    assert _seen()


def test_a_lease_that_is_forgotten_as_it_comes_back_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = Account.closed

    def closed(self: Account, lane: int, lease: ClosedLease) -> Account:
        return right(self, lane, lease._replace(spent_nano=0))

    monkeypatch.setattr(Account, "closed", closed)
    assert _seen()
