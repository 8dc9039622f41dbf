"""The budgeting agent: the one owner of each budget, which leases amounts to the lanes that ask.

    request    leases that the lane uses no more come back, then it gets one, or nothing where too
               little is left
    limit      changed by hand: below what is already leased, nothing more is leased
    ladder     each step is told once per window

Every answer goes to the partition that asked, in the same transaction as the account: what a lane
may spend was taken from the budget before the lane hears of it.

Tenants come and go: an account is removed once its window has turned and nothing of it is leased,
and begins anew, as that of a new window does, when somebody asks of it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from batuta.agents.budgets.account import Account
from batuta.agents.budgets.ladder import Step
from batuta.agents.budgets.rule import BudgetRule, amount_text, name_of
from batuta.agents.budgets.standing import BudgetStanding, ruled
from batuta.agents.budgets.windows import window_at
from batuta.agents.context import Context
from batuta.agents.identity import DEFAULT_TENANT, derived_id
from batuta.agents.state.codecs import JSON, TEXT, Codec, JsonValue
from batuta.agents.state.keyed import KeyedTable
from batuta.schemas.lease import LeaseGrant, LeaseRequest, LimitChange
from batuta.schemas.notification import Notification, Severity

__all__ = ["ACCOUNTS_TAG", "Budgeted", "Budgeting", "BudgetingState", "accounts_table"]

#: Under which the accounts stand in the changelog.
ACCOUNTS_TAG: Final = b"a"
_ACCOUNTS_MAX: Final = 100_000
#: Windows turn on the hour: so often it is looked for accounts that are over.
_SWEEP_MS: Final = 3_600_000
#: So many accounts leave with one batch at most; those that are left go with the next.
_REMOVED_MAX: Final = 10_000
_URGENT: Final = frozenset(("queue", "stop"))
#: The accounts of one lane, by the budget's id.
BudgetingState = KeyedTable[str, JsonValue]


@dataclass
class Budgeted:
    """What became of a batch.

    Attributes:
        now_ms: its clock.
        grants: answers, in the order of the requests.
        notifications: of steps that were reached.
        standings: of every budget that was asked of, as they are now.
        unknown: requests for budgets that the pipeline does not have any more, or too many.
    """

    now_ms: int = 0
    grants: list[LeaseGrant] = field(default_factory=list[LeaseGrant])
    notifications: list[Notification] = field(default_factory=list[Notification])
    standings: dict[str, BudgetStanding] = field(default_factory=dict[str, BudgetStanding])
    unknown: int = 0


def accounts_table() -> BudgetingState:
    """Return the empty table of one lane's accounts."""
    return KeyedTable(ACCOUNTS_TAG, Codec(TEXT, JSON), "budgets", entries_max=_ACCOUNTS_MAX)


class Budgeting:
    """Owns the budgets of one pipeline whose ids belong to a lane."""

    def __init__(self, pipeline: str, rules: Sequence[BudgetRule]) -> None:
        self._pipeline = pipeline
        self._rules: Mapping[str, BudgetRule] = {rule.name: rule for rule in rules}
        #: The hour in which each lane looked for accounts that are over.
        self._swept: dict[int, int] = {}

    def open_state(self) -> BudgetingState:
        """Return the empty state of one lane."""
        return accounts_table()

    def budget(
        self, items: Sequence[LeaseRequest | LimitChange], context: Context[BudgetingState]
    ) -> Budgeted:
        """Answer requests and take changes of limits, in order."""
        done = Budgeted(context.now_ms)
        self._sweep(context)
        for item in items:
            rule = self._rules.get(name_of(item.budget))
            table = context.state
            held = table.get(item.budget)
            if rule is None or (held is None and len(table) >= _ACCOUNTS_MAX):
                self._deny(item, context.now_ms, done)
                continue
            account = ruled(None if held is None else Account.read(held), rule)
            account = account.at(window_at(rule.per, context.now_ms))
            if isinstance(item, LimitChange):
                account = _limited(account, item, rule)
            else:
                account = self._answer(account, item, rule, done)
            dry = isinstance(item, LeaseRequest) and done.grants[-1].rung == rule.ladder.end.rung
            reached = rule.ladder.all() if dry else account.reached(rule.ladder)
            account = self._tell(account, item.budget, rule, reached, done)
            table.put(item.budget, account.written())
            done.standings[item.budget] = BudgetStanding(item.budget, rule, account, context.now_ms)
        return done

    def _sweep(self, context: Context[BudgetingState]) -> None:
        """Remove the accounts that are over."""
        hour, table = context.now_ms // _SWEEP_MS, context.state
        if self._swept.get(context.partition) == hour:
            return
        accounts = ((budget, Account.read(held)) for budget, held in table.items())
        over = [budget for budget, account in accounts if account.is_over(context.now_ms)]
        for budget in over[:_REMOVED_MAX]:
            table.delete(budget)
        if len(over) <= _REMOVED_MAX:
            self._swept[context.partition] = hour

    def _answer(
        self, account: Account, request: LeaseRequest, rule: BudgetRule, done: Budgeted
    ) -> Account:
        for lease in request.closed:
            account = account.closed(request.lane, lease)
        account, granted = account.leased(request, rule.ladder.cap_nano(account.limit_nano))
        rung = rule.ladder.rung(account.used_nano, account.limit_nano)
        if not granted and request.wanted_nano:
            # Too little is left for what is to be asked: to the lane it is used up.
            rung = rule.ladder.end.rung
        done.grants.append(
            LeaseGrant(
                request.budget,
                request.lane,
                request.number,
                granted,
                account.window.end_ms,
                rung,
                account.used_nano,
                account.limit_nano,
            )
        )
        return account

    def _deny(self, item: LeaseRequest | LimitChange, now_ms: int, done: Budgeted) -> None:
        done.unknown += 1
        if isinstance(item, LeaseRequest):
            end_ms = window_at("hour", now_ms).end_ms
            done.grants.append(
                LeaseGrant(item.budget, item.lane, item.number, 0, end_ms, "stop", 0, 0)
            )

    def _tell(
        self,
        account: Account,
        budget: str,
        rule: BudgetRule,
        reached: Sequence[Step],
        done: Budgeted,
    ) -> Account:
        for step in reached[account.told :]:
            done.notifications.append(self._notification(account, budget, rule, step, done.now_ms))
        return replace(account, told=max(account.told, len(reached)))

    def _notification(
        self, account: Account, budget: str, rule: BudgetRule, step: Step, now_ms: int
    ) -> Notification:
        severity: Severity = "critical" if step.rung in _URGENT else "warning"
        limit = amount_text(account.limit_nano, rule.currency)
        _, _, tenant = budget.partition("/")
        tenant = tenant if rule.each_tenant else DEFAULT_TENANT
        about = f"budget {rule.name}"
        start = str(account.window.start_ms)
        share = f"{100 * step.share:g} %"
        return Notification(
            notification_id=derived_id(
                "budget", self._pipeline, budget, start, step.rung, share, str(account.limit_nano)
            ),
            pipeline=self._pipeline,
            tenant=tenant,
            severity=severity,
            title=f"{about}: {step.rung}",
            summary=f"{share} of {limit} per {rule.per} are spent or leased.",
            event_id=about,
            labels={"budget": rule.name, "rung": step.rung},
            created_at_ms=now_ms,
        )


def _limited(account: Account, change: LimitChange, rule: BudgetRule) -> Account:
    if 0 < change.set_at_ms <= account.set_at_ms:
        return account  # said before what holds now, and read again
    by_hand = change.limit_nano is not None
    limit_nano = rule.limit_nano if change.limit_nano is None else change.limit_nano
    return replace(
        account, limit_nano=limit_nano, set_by_hand=by_hand, set_at_ms=change.set_at_ms, told=0
    )
