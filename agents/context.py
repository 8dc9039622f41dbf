"""What an agent is given beside its events: the clock, its partition, its state.

An agent that needs anything else of the world takes it here, never from a module.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from batuta.agents.state.parking import ParkingLot
from batuta.agents.state.timers import Timers

__all__ = ["Context"]

StateT_co = TypeVar("StateT_co", covariant=True)


def _no_timers() -> Timers:
    """Return a table on which no batch is open: there is nobody to call."""
    return Timers(b"-", entries_max=1)


def _no_parking() -> ParkingLot:
    """Return a lot on which no batch is open: nothing may wait."""
    return ParkingLot(b"-", steps_max=1)


@dataclass(frozen=True, slots=True)
class Context(Generic[StateT_co]):
    """The world of one batch.

    Attributes:
        now_ms: the clock, read once per batch; milliseconds since 1970 UTC.
        partition: the lane's partition.
        partition_of: which partition of the input a key belongs to.
        state: the lane's state, open for this batch.
        timers: what the agent asks to be called for; it is, in a later batch, as a firing.
        parked: what waits for an answer; written once the batch's own answer is there.
        watermark_ms: no event from before it is to come; None where nobody knows.
    """

    now_ms: int
    partition: int
    partition_of: Callable[[bytes], int]
    state: StateT_co
    timers: Timers = field(default_factory=_no_timers)
    parked: ParkingLot = field(default_factory=_no_parking)
    watermark_ms: int | None = None
