"""Recovery: a lane's memory, made exactly as old as the committed offsets.

A lane that keeps its partition keeps its memory, if nobody else has committed meanwhile; else it
is restored from the changelog. What a transaction of unknown end left open ends as the offsets say.
"""

import asyncio
from functools import partial
from typing import Final

from aiokafka import TopicPartition

from batuta.streams.lanes.commits import Commits
from batuta.streams.lanes.flights import AnyBatch, Flights
from batuta.streams.lanes.log import Offsets
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.restore import restore
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.lanes.world import LaneWorld

__all__ = ["Recovery"]

#: How long a new ownership waits for the agent to let go of the batches of the last one, before the
#: memory that they may still write to is given up and restored.
_RECLAIM_S: Final = 0.5


class Recovery:
    """Holds one lane's memory.

    Attributes:
        memory: None until it was restored, and where it was given up.
    """

    def __init__(
        self,
        stage: AnyStage,
        partition: int,
        world: LaneWorld,
        commits: Commits,
        flights: Flights,
    ) -> None:
        self.memory: LaneMemory | None = None
        self._stage = stage
        self._partition = partition
        self._world = world
        self._commits = commits
        self._flights = flights

    async def reclaim(self) -> None:
        """Take the memory back from batches that were abandoned, or give it up with them."""
        try:
            async with asyncio.timeout(_RECLAIM_S):
                await self._flights.wait_ended()
        except TimeoutError:
            self.memory = None
        self._flights.take()
        if self.memory is not None:
            unsettled = self._commits.unsettled
            self.memory.rollback(keep=unsettled.batch if unsettled is not None else None)

    def end_unsettled(self, committed: Offsets) -> AnyBatch | None:
        """End the transaction whose end nobody saw, as the offsets say that it ended.

        Returns:
            Its batch, where it was committed.
        """
        if (unsettled := self._commits.unsettled) is None:
            return None
        self._commits.unsettled = None
        batch, happened = unsettled.batch, committed == unsettled.offsets
        if happened:
            self._commits.position = unsettled.offsets
        if batch is None or self.memory is None:
            return batch if happened else None
        if not happened:
            self.memory.rollback()
            return None
        self.memory.commit(batch)
        return batch

    def restores(self, committed: Offsets) -> bool:
        """Whether the memory is of another age than the committed offsets."""
        return self.memory is None or self._commits.position != committed

    async def restore(self, committed: Offsets) -> None:
        """Read the memory back from the changelog.

        Raises:
            StateCorruptError: a record is of an unknown version or shape.
            LaterError: the changelog gave nothing for too long.
            aiokafka.errors.KafkaError: the broker failed.
        """
        open_memory = partial(LaneMemory, self._stage)
        if self._stage.changelog is not None:
            changelog = TopicPartition(self._stage.changelog, self._partition)
            remaining = partial(self._world.telemetry.restore_remaining, self._partition)
            restored = await restore(self._world.log, changelog, open_memory, remaining)
            self.memory = restored.state
        else:
            self.memory = open_memory()
        self._commits.position = dict(committed)

    async def _restored(self) -> LaneMemory:
        open_memory = partial(LaneMemory, self._stage)
        if self._stage.changelog is None:
            return open_memory()
        changelog = TopicPartition(self._stage.changelog, self._partition)
        remaining = partial(self._world.telemetry.restore_remaining, self._partition)
        return (await restore(self._world.log, changelog, open_memory, remaining)).state
