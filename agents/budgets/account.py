"""The account of one budget: what of its limit is spent, and what is leased to whom.

What is leased counts as spent until its lane gives it back; a lease that never comes back counts
until the window turns, and nothing counts beyond that. So the sum of all that lanes may spend in a
window is never more than the limit, whoever crashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from batuta.agents.budgets.ladder import Ladder, Step
from batuta.agents.budgets.windows import FORGET_MS, Window
from batuta.agents.state.codecs import JsonValue
from batuta.schemas.errors import StateCorruptError
from batuta.schemas.lease import ClosedLease, LeaseRequest

__all__ = ["Account"]

_EMPTY = Window(0, 0)
#: A lane gets at most this part of what is left, so that the last of it reaches everybody.
_PART = 4


@dataclass(frozen=True)
class Account:
    """One budget in one window. Changes are new accounts.

    Attributes:
        limit_nano: of the window.
        window: which one.
        spent_nano: by leases that came back.
        leases: what is out, by lane and number.
        numbers: the last request of each lane.
        told: how many steps of the ladder people were told of.
        set_by_hand: whether the limit is another one than the file's.
        set_at_ms: when somebody said last what the limit is; 0: nobody did.
    """

    limit_nano: int
    window: Window = _EMPTY
    spent_nano: int = 0
    leases: Mapping[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    numbers: Mapping[int, int] = field(default_factory=dict[int, int])
    told: int = 0
    set_by_hand: bool = False
    set_at_ms: int = 0

    @property
    def leased_nano(self) -> int:
        """What is out."""
        return sum(self.leases.values())

    @property
    def used_nano(self) -> int:
        """What counts as spent."""
        return self.spent_nano + self.leased_nano

    def at(self, window: Window) -> "Account":
        """Return the account in a window: one that turned begins with nothing spent.

        A clock that jumps back finds the later window, and stays in it.
        """
        if window.start_ms <= self.window.start_ms:
            return self
        return replace(self, window=window, spent_nano=0, leases={}, told=0)

    def is_over(self, now_ms: int) -> bool:
        """Say whether it says no more than none does: its window has turned, with every lease.

        A limit that was set by hand holds for the windows to come.
        """
        by_hand = self.set_by_hand or self.set_at_ms > 0
        return not by_hand and now_ms >= self.window.end_ms + FORGET_MS

    def closed(self, lane: int, lease: ClosedLease) -> "Account":
        """Return the account with a lease given back; one that is not out changes nothing."""
        leases = dict(self.leases)
        if leases.pop((lane, lease.number), None) is None:
            return self
        return replace(self, leases=leases, spent_nano=self.spent_nano + lease.spent_nano)

    def leased(self, request: LeaseRequest, cap_nano: int) -> tuple["Account", int]:
        """Return the account with a lease taken, and its amount: 0 where too little is left.

        The same request again gets what it got, if that is still out.
        """
        lane, number, needed_nano = request.lane, request.number, request.needed_nano
        if number <= self.numbers.get(lane, 0):
            return self, self.leases.get((lane, number), 0)
        account = replace(self, numbers={**self.numbers, lane: number})
        left = cap_nano - self.used_nano
        if left < max(needed_nano, 1) or request.wanted_nano <= 0:
            return account, 0
        amount = min(left, max(needed_nano, min(request.wanted_nano, left // _PART)))
        # In whole calls: what is left of one would lie idle in every lane.
        amount -= amount % max(needed_nano, 1)
        return replace(account, leases={**self.leases, (lane, number): amount}), amount

    def reached(self, ladder: Ladder) -> tuple[Step, ...]:
        """Return the steps of a ladder that are reached."""
        return ladder.reached(self.used_nano, self.limit_nano)

    def written(self) -> JsonValue:
        """Return it as JSON takes it; `read` takes it back."""
        return {
            "limit": self.limit_nano,
            "window": [*self.window],
            "spent": self.spent_nano,
            "leases": [[lane, number, one] for (lane, number), one in sorted(self.leases.items())],
            "numbers": [[lane, number] for lane, number in sorted(self.numbers.items())],
            "told": self.told,
            "by_hand": self.set_by_hand,
            "set_at": self.set_at_ms,
        }

    @classmethod
    def read(cls, value: JsonValue) -> "Account":
        """Take back what `written` returned.

        Raises:
            StateCorruptError: it is damaged.
        """
        try:
            found = cast("dict[str, object]", value)
            window = cast("list[int]", found["window"])
            return cls(
                limit_nano=int(cast("int", found["limit"])),
                window=Window(*window),
                spent_nano=int(cast("int", found["spent"])),
                leases={
                    (lane, number): amount
                    for lane, number, amount in cast("list[list[int]]", found["leases"])
                },
                numbers=dict(cast("list[tuple[int, int]]", found["numbers"])),
                told=int(cast("int", found["told"])),
                set_by_hand=bool(found["by_hand"]),
                # What was written before anybody could say when has none.
                set_at_ms=int(cast("int", found.get("set_at", 0))),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StateCorruptError(f"the account of a budget is damaged: {error!r}") from error
