"""The purse: what one lane may spend, leased from the owners of its budgets.

A lane reserves from its leases before a model is asked, in memory, and settles by call id once the
answer is there. That is safe because a lease is taken from its budget as a whole, and committed,
before anything is drawn from it:

    received   the grant was read; nothing is drawn until the batch that read it is committed, for
               until then a worker that crashes would read the grant once more
    open       amounts are reserved, settled and released
    closing    given back: what it spent, and what of it is still held, stands with its budget
    lost       loaded from the changelog: another worker drew from it, nobody knows how much, so all
               of it counts as spent until the window turns

What is reserved outlives a batch that is rolled back: the model was asked all the same.

State, by budget: the last request's number, the one that is not answered yet, leases, how far up
the ladder the budget is. It changes with leases, never with events. A budget whose window has
turned is forgotten once nothing of it is leased, asked or wanted: tenants come and go. Numbers of
requests go by the clock, so that those of a budget that comes back are later than any before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast

from batuta.agents.budgets.ladder import Rung
from batuta.agents.budgets.lane_leases import Entry, Lease, Live, read_entry, written
from batuta.agents.budgets.rule import BudgetRule, name_of
from batuta.agents.budgets.windows import FORGET_MS
from batuta.agents.state.codecs import JSON, TEXT, Codec, JsonValue
from batuta.agents.state.keyed import KeyedTable
from batuta.schemas.lease import ClosedLease, LeaseGrant, LeaseRequest

__all__ = ["IDLE_MS", "PURSE_TAG", "Purse", "Reserved", "Short", "Ticket"]

#: Under which the purse stands in the changelog.
PURSE_TAG: Final = b"$"
#: A lease that nobody drew from for so long goes back.
IDLE_MS: Final = 30_000
#: After so long a budget that had too little is asked again: its limit may have been raised.
_AGAIN_MS: Final = 30_000
#: A request without answer is sent once more after so long: the owner knows it by its number.
_REPEAT_MS: Final = 60_000
#: So long a lease that is used up waits for the answers of the calls that it pays for.
_DRAIN_MS: Final = 60_000
_SWEEP_MS: Final = 1_000
#: A lane leases this part of the limit at once.
_LEASE_PART: Final = 100
_BUDGETS_MAX: Final = 100_000

#: Why less is reserved than asked for: a lease is under way, nothing is left, or the rest waits for
#: the window to turn.
Short = Literal["", "wait", "spent", "queue"]


class Ticket(NamedTuple):
    """A reservation: its call id, and what of which leases it holds."""

    call_id: int
    parts: tuple[tuple[str, int], ...]


class Reserved(NamedTuple):
    """What became of a wish to reserve.

    Attributes:
        rows: for how many there is enough.
        ticket: to settle; None where there is enough for none.
        bound: for how many there may be once leases come that are under way.
        short: why it is not more: empty, `queue` or `spent`.
    """

    rows: int
    ticket: Ticket | None
    bound: int
    short: Short


class Purse:
    """The leases of one lane.

    Attributes:
        table: its state.
        now_ms: the clock of the last batch.
    """

    def __init__(
        self, rules: Sequence[BudgetRule], least_nano: Mapping[str, int] | None = None
    ) -> None:
        """Open an empty purse.

        Args:
            rules: of the budgets.
            least_nano: with less than this nothing can be asked, by the name of the budget.
        """
        self._least = least_nano or {}
        self.rules = tuple(rules)
        self.table: KeyedTable[str, JsonValue] = KeyedTable(
            PURSE_TAG, Codec(TEXT, JSON), "purse", entries_max=_BUDGETS_MAX
        )
        self.now_ms = 0
        self._limits = {rule.name: rule.limit_nano for rule in rules}
        self._live: dict[str, dict[int, Live]] = {}
        self._needed: dict[str, int] = {}
        #: What was to be reserved last and could not be, by budget.
        self._demand: dict[str, int] = {}
        self._calls = 0
        self._swept_ms = 0

    def take(self, grants: Iterable[LeaseGrant], now_ms: int) -> list[LeaseGrant]:
        """Take answers in, within the open batch.

        Returns:
            Those to call `opened` with once it is committed; one that nobody asked for, or that
            came before, changes nothing.
        """
        self.now_ms = max(self.now_ms, now_ms)
        taken: list[LeaseGrant] = []
        for grant in grants:
            entry = self._entry(grant.budget)
            if grant.number != entry.asked:
                continue
            entry.asked = 0
            entry.rung, entry.until_ms, entry.limit_nano = (
                grant.rung,
                grant.until_ms,
                grant.limit_nano,
            )
            entry.dry = grant.granted_nano <= 0
            entry.again_ms = min(now_ms + _AGAIN_MS, max(grant.until_ms, now_ms + 1))
            if grant.granted_nano > 0:
                lease = Lease(grant.number, grant.granted_nano, grant.until_ms)
                entry.leases.append(lease)
                self._live.setdefault(grant.budget, {})[grant.number] = Live(lease, drawn_ms=now_ms)
            taken.append(grant)
            self._put(grant.budget, entry)
        return taken

    def opened(self, grants: Iterable[LeaseGrant]) -> None:
        """Let amounts be drawn from leases whose batch is committed."""
        for grant in grants:
            live = self._live.get(grant.budget, {}).get(grant.number)
            if live is not None and live.phase == "received":
                live.phase = "open"

    def tend(self, budgets: Iterable[str], lane: int, now_ms: int) -> list[LeaseRequest]:
        """Give back what is not needed and ask for what is, within the open batch.

        Args:
            budgets: that the batch's events are paid from.
            lane: its partition.
            now_ms: the clock.
        """
        self.now_ms = max(self.now_ms, now_ms)
        wanted = dict.fromkeys(budgets)
        tended = wanted | dict.fromkeys(self._demand)
        if now_ms >= self._swept_ms + _SWEEP_MS:
            self._swept_ms = now_ms
            tended |= dict.fromkeys(budget for budget, _ in self.table.items())
        requests: list[LeaseRequest] = []
        for budget in tended:
            known = self.table.get(budget)
            entry = Entry() if known is None else read_entry(known)
            request = self._tend_one(budget, entry, lane, wants=budget in wanted)
            if request is not None:
                requests.append(request)
            if request is None and budget not in wanted and self._is_over(budget, entry):
                self._forget(budget)
                continue
            now_known = written(entry)
            if now_known != known:
                self.table.put(budget, now_known)
        return requests

    def _is_over(self, budget: str, entry: Entry) -> bool:
        """Say whether nothing of a budget matters any more."""
        in_use = entry.asked or entry.leases or self._live.get(budget)
        wanted = budget in self._needed or budget in self._demand
        return not (in_use or wanted) and self.now_ms >= entry.until_ms + FORGET_MS

    def _forget(self, budget: str) -> None:
        self._live.pop(budget, None)
        if budget in self.table:
            self.table.delete(budget)

    def next_look_ms(self, budget: str) -> int | None:
        """Return when a budget is to be looked at again though nothing comes; None for never."""
        known = self.table.get(budget)
        if known is None:
            return None
        entry = read_entry(known)
        if budget in self._demand:
            return max(self.now_ms + _SWEEP_MS, entry.again_ms if entry.dry else 0)
        if entry.dry:
            return entry.again_ms
        return self.now_ms + IDLE_MS if entry.leases or entry.asked else None

    def rung(self, budget: str) -> Rung | None:
        """Return how far up its ladder a budget is, as far as this lane has heard."""
        known = self.table.get(budget)
        if known is None:
            return None
        entry = read_entry(known)
        return cast("Rung", entry.rung) if entry.rung and self.now_ms < entry.until_ms else None

    def until_ms(self, budget: str) -> int:
        """Return when a budget's window turns; 0 where nothing is known of it."""
        known = self.table.get(budget)
        return 0 if known is None else read_entry(known).until_ms

    def ends_of(self, budget: str) -> dict[int, int]:
        """Return when each lease that this worker received ends, by its number."""
        return {number: one.lease.until_ms for number, one in self._live.get(budget, {}).items()}

    def reserve(self, budgets: Sequence[str], row_nano: int, rows: int) -> "Reserved":
        """Reserve for some rows of one call, from every budget that pays for them.

        Args:
            budgets: all of which must hold.
            row_nano: the most that one row may cost.
            rows: of the call, in order.
        """
        count = bound = rows
        short: Short = ""
        for budget in budgets:
            affordable = max(sum(live.left_nano for live in self._open(budget)) // row_nano, 0)
            if affordable >= rows:
                continue
            self._needed[budget] = max(self._needed.get(budget, 0), row_nano)
            self._demand[budget] = (rows - affordable) * row_nano
            count = min(count, affordable)
            if (why := self._short(budget)) != "wait":
                bound, short = min(bound, affordable), _worse(short, why)
        if not count:
            return Reserved(0, None, bound, short)
        self._calls += 1
        amount = count * row_nano
        parts = tuple(
            part for budget in budgets for part in self._hold(budget, self._calls, amount)
        )
        return Reserved(count, Ticket(self._calls, parts), bound, short)

    def settle(self, ticket: Ticket, cost_nano: int) -> None:
        """Count what a call cost; one that is settled or released already changes nothing."""
        rest: dict[str, int] = {}
        for budget, number in ticket.parts:
            live = self._live.get(budget, {}).get(number)
            held = None if live is None else live.held.pop(ticket.call_id, None)
            if live is None or held is None:
                continue
            live.held_nano -= held
            due = rest.get(budget, cost_nano)
            paid = min(due, held)
            live.used_nano += paid
            rest[budget] = due - paid
            if rest[budget] and (budget, number) == _last(ticket, budget):
                # It cost more than it was to cost at most: that is spent all the same.
                live.used_nano += rest[budget]

    def release(self, ticket: Ticket) -> None:
        """Give back what a call holds that was not made."""
        self.settle(ticket, 0)

    def _tend_one(
        self, budget: str, entry: Entry, lane: int, *, wants: bool
    ) -> LeaseRequest | None:
        now_ms = self.now_ms
        if now_ms >= entry.until_ms:
            entry.dry, entry.rung = False, ""
        closed = list(self._closed(budget, entry))
        limit_nano = entry.limit_nano or self._limits.get(name_of(budget), 0)
        needed = max(self._needed.get(budget, 1), self._least.get(name_of(budget), 1))
        demand = self._demand.get(budget, 0)
        lease_nano = max(limit_nano // _LEASE_PART, needed, demand)
        mine = self._live.get(budget, {})
        left = sum(
            live.left_nano
            for lease in entry.leases
            if (live := mine.get(lease.number)) is not None and live.phase != "closing"
        )
        asks = wants or bool(self._needed.get(budget))
        if entry.asked and now_ms >= entry.asked_ms + _REPEAT_MS:
            entry.asked_ms = now_ms
            return LeaseRequest(budget, lane, entry.asked, lease_nano, needed, tuple(closed))
        low = left < max(lease_nano // 2, needed, demand)
        if not entry.asked and asks and low and (not entry.dry or now_ms >= entry.again_ms):
            self._needed.pop(budget, None)
            self._demand.pop(budget, None)
            entry.last = max(entry.last + 1, now_ms)
            entry.asked, entry.asked_ms = entry.last, now_ms
            return LeaseRequest(budget, lane, entry.last, lease_nano, needed, tuple(closed))
        if closed:
            entry.last = max(entry.last + 1, now_ms)
            return LeaseRequest(budget, lane, entry.last, 0, 0, tuple(closed))
        return None

    def _closed(self, budget: str, entry: Entry) -> Iterator[ClosedLease]:
        """Take out the leases that are used no more."""
        mine, now_ms = self._live.get(budget, {}), self.now_ms
        kept: list[Lease] = []
        for lease in entry.leases:
            live = mine.get(lease.number)
            if live is None:
                yield ClosedLease(lease.number, lease.amount_nano)
            elif live.phase != "received" and self._goes_back(live):
                live.phase = "closing"
                yield ClosedLease(lease.number, live.used_nano + live.held_nano)
            else:
                kept.append(lease)
        entry.leases[:] = kept
        standing = {lease.number for lease in kept}
        for number in [
            number
            for number, live in mine.items()
            if live.phase == "closing" and number not in standing and live.lease.until_ms < now_ms
        ]:
            del mine[number]

    def _goes_back(self, live: Live) -> bool:
        """Say whether a lease is to go back."""
        now_ms = self.now_ms
        if live.phase == "closing" or now_ms >= live.lease.until_ms:
            return True
        if not live.held and now_ms >= live.drawn_ms + IDLE_MS:
            return True
        if live.left_nano > live.lease.amount_nano // _LEASE_PART:
            live.drained_ms = None
            return False
        if live.drained_ms is None:
            live.drained_ms = now_ms
        return not live.held or now_ms >= live.drained_ms + _DRAIN_MS

    def _open(self, budget: str) -> Iterator[Live]:
        for live in self._live.get(budget, {}).values():
            if live.phase == "open" and self.now_ms < live.lease.until_ms:
                yield live

    def _hold(self, budget: str, call_id: int, amount_nano: int) -> Iterator[tuple[str, int]]:
        for live in self._open(budget):
            part = min(amount_nano, live.left_nano)
            if part <= 0:
                continue
            live.held[call_id] = part
            live.held_nano += part
            live.drawn_ms = self.now_ms
            yield budget, live.lease.number
            amount_nano -= part
            if not amount_nano:
                return

    def _short(self, budget: str) -> Short:
        known = self.table.get(budget)
        if known is None:
            return "wait"
        entry = read_entry(known)
        if self.now_ms >= entry.until_ms or not entry.dry:
            return "wait"
        return "queue" if entry.rung == "queue" else "spent"

    def _entry(self, budget: str) -> Entry:
        known = self.table.get(budget)
        return Entry() if known is None else read_entry(known)

    def _put(self, budget: str, entry: Entry) -> None:
        self.table.put(budget, written(entry))


_ORDER: Final[dict[Short, int]] = {"": 0, "wait": 1, "queue": 2, "spent": 3}


def _worse(one: Short, other: Short) -> Short:
    return max(one, other, key=_ORDER.__getitem__)


def _last(ticket: Ticket, budget: str) -> tuple[str, int]:
    return [part for part in ticket.parts if part[0] == budget][-1]
