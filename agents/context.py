"""What an agent is given beside its events: the clock, its partition, its state.

An agent that needs anything else of the world takes it here, never from a module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Context"]

StateT_co = TypeVar("StateT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Context(Generic[StateT_co]):
    """The world of one batch.

    Attributes:
        now_ms: the clock, read once per batch; milliseconds since 1970 UTC.
        partition: the lane's partition.
        partition_of: which partition of the input a key belongs to.
        state: the lane's state, open for this batch.
    """

    now_ms: int
    partition: int
    partition_of: Callable[[bytes], int]
    state: StateT_co
