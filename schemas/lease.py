"""Leases: what the lanes that ask models say to the owner of a budget, and what it answers.

Amounts are whole billionths of the budget's currency. Both are internal. Version 1.
"""

from typing import Final, NamedTuple

__all__ = ["LEASE_VERSION", "ClosedLease", "LeaseGrant", "LeaseRequest", "LimitChange"]

LEASE_VERSION: Final = 1


class ClosedLease(NamedTuple):
    """A lease that its lane uses no more, and what of it was spent."""

    number: int
    spent_nano: int


class LeaseRequest(NamedTuple):
    """What a lane asks of a budget, and what it gives back.

    Attributes:
        budget: its id: the name in the pipeline file, and the tenant where each has its own.
        lane: the partition that the answer goes to.
        number: of the request; the lease that it leads to is called by budget, lane and number.
        wanted_nano: how much would be good to have; 0 where the lane only gives back.
        needed_nano: with less than this nothing can be asked.
        closed: the leases it uses no more.
    """

    budget: str
    lane: int
    number: int
    wanted_nano: int
    needed_nano: int
    closed: tuple[ClosedLease, ...] = ()


class LeaseGrant(NamedTuple):
    """What a lane may spend.

    Attributes:
        budget, lane, number: of the request.
        granted_nano: 0 where nothing is left.
        until_ms: when the window turns, and the lease ends.
        rung: how far up the ladder the budget is; empty below its first step.
        used_nano: what is spent or leased, of all lanes.
        limit_nano: what may be spent in the window.
    """

    budget: str
    lane: int
    number: int
    granted_nano: int
    until_ms: int
    rung: str
    used_nano: int
    limit_nano: int


class LimitChange(NamedTuple):
    """Another limit for a budget, by hand.

    Attributes:
        limit_nano: of the window; None for that of the pipeline file.
        set_at_ms: when, later than every change of the budget before it.
    """

    budget: str
    limit_nano: int | None
    set_at_ms: int = 0
