"""The recording: every batch that a lane gave to its agent, whatever became of it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batuta.agents.context import Context
from batuta.agents.state.port import State
from batuta.schemas.record import Record
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.stand_in_app import AnyBatch

__all__ = ["Attempt", "Lane", "Recording"]

#: A group and a partition number.
Lane = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One batch as its agent got it.

    Attributes:
        worker: whose lane it was.
        at_s: when.
        context: clock and partition; its state is the worker's own.
    """

    worker: str
    at_s: float
    records: Sequence[Record]
    context: Context[State]

    @property
    def spots(self) -> frozenset[tuple[str, int]]:
        """Topic and offset of each record."""
        return frozenset((record.topic, record.offset) for record in self.records)


class Recording:
    """Collects attempts by lane, in order."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.attempts: defaultdict[Lane, list[Attempt]] = defaultdict(list)
        self.stages: dict[str, AnyStage] = {}

    def saw(self, worker: str, stage: AnyStage, batch: AnyBatch) -> None:
        """Take down a batch."""
        self.stages[stage.group] = stage
        lane = (stage.group, batch.context.partition)
        attempt = Attempt(worker, self._now_s(), batch.records, batch.context)
        self.attempts[lane].append(attempt)
