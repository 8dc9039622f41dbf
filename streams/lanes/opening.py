"""Opening: what a batch of a lane finds as it begins."""

from batuta.agents.context import Context
from batuta.agents.state.event_time import BEFORE_ALL_MS
from batuta.agents.state.port import State
from batuta.schemas.partition import PartitionOf
from batuta.streams.lanes.batch import Batch
from batuta.streams.lanes.flights import Flight
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.taking import Taking

__all__ = ["Opening"]


class Opening:
    """Opens one lane's batches.

    Args:
        partition_of: where a key of the first input belongs.
        taking: what they take of the records that were read.
    """

    def __init__(self, partition: int, partition_of: PartitionOf, taking: Taking) -> None:
        self._partition = partition
        self._partition_of = partition_of
        self._taking = taking

    def open(self, flight: Flight) -> None:
        """Take in what the flight carries, within a new layer of the state."""
        part, memory, now_ms = flight.part, flight.memory, flight.now_ms
        memory.begin(flight)
        # As it was: watermarks lie behind the records that they speak of.
        context = self._context(memory, now_ms)
        if part.watermarks:
            memory.hear(part.watermarks, now_ms)
        taken = self._taking.take(part, now_ms, memory)
        flight.released = taken.released
        memory.reserve(flight, len(taken.records))
        batch = Batch[object, State](taken.records, taken.items, taken.refused, context, flight)
        batch.news = part.news
        if part.timers or part.watermarks:
            batch.firings = memory.fire(now_ms)
        flight.batch = batch

    def _context(self, memory: LaneMemory, now_ms: int) -> Context[State]:
        watermark_ms = memory.watermark_ms
        return Context(
            now_ms=now_ms,
            partition=self._partition,
            partition_of=self._partition_of,
            state=memory.state,
            timers=memory.timers,
            parked=memory.parked,
            watermark_ms=watermark_ms if watermark_ms != BEFORE_ALL_MS else None,
        )
