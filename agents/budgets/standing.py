"""How one budget stands: what is spent and leased, how far up its ladder it is, when it ends."""

from dataclasses import dataclass, replace

from batuta.agents.budgets.account import Account
from batuta.agents.budgets.forecast import Forecast, forecast
from batuta.agents.budgets.rule import BudgetRule, amount_text
from batuta.agents.budgets.windows import window_at

__all__ = ["BudgetStanding", "ruled"]


@dataclass(frozen=True)
class BudgetStanding:
    """One budget at one moment.

    Attributes:
        budget: its id.
        rule: of the pipeline file.
        account: in the window of `now_ms`.
        now_ms: the clock.
    """

    budget: str
    rule: BudgetRule
    account: Account
    now_ms: int

    @classmethod
    def of(
        cls, budget: str, rule: BudgetRule, account: Account | None, now_ms: int
    ) -> "BudgetStanding":
        """Return how a budget stands by its account; None for one that nobody has asked of yet."""
        account = ruled(account, rule).at(window_at(rule.per, now_ms))
        return cls(budget, rule, account, now_ms)

    @property
    def cap_nano(self) -> int:
        """How much may be used: the limit, or less where the ladder ends before."""
        return self.rule.ladder.cap_nano(self.account.limit_nano)

    @property
    def left_nano(self) -> int:
        """What may still be leased."""
        return max(self.cap_nano - self.account.used_nano, 0)

    @property
    def remaining(self) -> float:
        """The share of the limit that is neither spent nor leased."""
        account = self.account
        if not account.limit_nano:
            return 0.0
        return max(1.0 - account.used_nano / account.limit_nano, 0.0)

    @property
    def rung(self) -> str:
        """How far up its ladder it is; empty below the first step."""
        return self.rule.ladder.rung(self.account.used_nano, self.account.limit_nano)

    @property
    def forecast(self) -> Forecast:
        """When it will end."""
        account = self.account
        return forecast(account.spent_nano, self.cap_nano, account.window, self.now_ms)

    @property
    def warning(self) -> str:
        """What to know of a limit below what is spent or leased already; empty where it is not."""
        used_nano, cap_nano = self.account.used_nano, self.cap_nano
        if used_nano <= cap_nano:
            return ""
        currency = self.rule.currency
        used, leased = (amount_text(one, currency) for one in (used_nano, self.account.leased_nano))
        return (
            f"{used} are spent or leased already, more than {amount_text(cap_nano, currency)}: "
            f"nothing more is leased until the window turns, and lanes may still spend what they "
            f"have of {leased}"
        )


def ruled(account: Account | None, rule: BudgetRule) -> Account:
    """Return an account under the limit of the file, unless somebody has set another."""
    if account is None:
        return Account(rule.limit_nano)
    return account if account.set_by_hand else replace(account, limit_nano=rule.limit_nano)
