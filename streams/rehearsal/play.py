"""The play: what is rehearsed, as far as the world needs to know of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from batuta.schemas.record import Output, Record
from batuta.schemas.topics import TopicSpec
from batuta.streams.app import LaneApp
from batuta.streams.rehearsal.outside_world import Unreliable
from batuta.streams.rehearsal.plan import Plan

__all__ = ["ByTopic", "MakePlay", "Play"]

#: Every committed record, by topic.
ByTopic = Mapping[str, Sequence[Record]]


class Play(Protocol):
    """Some stages with their topics, what users send to them, and what must come of it.

    Attributes:
        kept: topics whose outputs are never refused: those that users write to, and those of dead
            letters, for a lane whose dead letters are refused stops, as documented.
        recomputed: groups whose committed input says all that their agents were given; where timers
            fire as well it does not.
        busy_share: in which share of the time users send.
    """

    busy_share: float

    @property
    def recomputed(self) -> frozenset[str]:
        """Groups that can be recomputed from their input alone."""
        ...

    @property
    def kept(self) -> frozenset[str]:
        """Topics whose outputs are never refused."""
        ...

    def topics(self, partitions: int) -> Sequence[TopicSpec]:
        """Return its topics."""
        ...

    def source_records(self, plan: Plan) -> Sequence[Output]:
        """Return what users send, in order, each with its partition."""
        ...

    def build(self, app: LaneApp) -> None:
        """Register its stages with one worker's app."""
        ...

    def unbalanced(self, read: ByTopic) -> Iterator[str]:
        """Yield what did not end as it should."""
        ...


MakePlay = Callable[[Unreliable], Play]
