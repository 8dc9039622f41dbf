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
from batuta.streams.lanes.snapshots import SnapshotPolicy, Snapshots, SnapshotSpot
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
        commits: its transactions.
        flights: its batches under way.
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
        self.commits = commits
        self.flights = flights
        topic = stage.changelog
        self._changelog = None if topic is None else TopicPartition(topic, partition)
        self._snapshots = self._open_snapshots()

    async def reclaim(self) -> None:
        """Take the memory back from batches that were abandoned, or give it up with them."""
        try:
            async with asyncio.timeout(_RECLAIM_S):
                await self.flights.wait_ended()
        except TimeoutError:
            self.memory = None
        self.flights.take()
        if self.memory is not None:
            unsettled = self.commits.unsettled
            self.memory.rollback(keep=unsettled.flight if unsettled is not None else None)

    def end_unsettled(self, committed: Offsets, *, ours: bool) -> AnyBatch | None:
        """End the transaction whose end nobody saw, as the offsets say that it ended.

        Args:
            committed: the group's offsets.
            ours: whether the lane was ours all along since that transaction.

        Returns:
            Its batch, where it was committed.
        """
        if (unsettled := self.commits.unsettled) is None:
            return None
        self.commits.unsettled = None
        flight, happened = unsettled.flight, committed == unsettled.offsets
        if not happened:
            if self.memory is not None:
                self.memory.rollback()
            return None
        self.commits.position = unsettled.offsets
        self.commits.written.clear()  # nobody saw where its records went
        if not ours:
            # Another owner may have come exactly as far meanwhile, in ways of its own: by other
            # timers, at other times. What led to these offsets is in the changelog alone.
            self.memory = None
        elif flight is not None and self.memory is not None:
            self.memory.commit(flight)
        return flight.batch if flight is not None else None

    def restores(self, committed: Offsets) -> bool:
        """Whether the memory is of another age than the committed offsets."""
        return self.memory is None or self.commits.position != committed

    async def restore(self, committed: Offsets) -> None:
        """Read the memory back from the changelog.

        Raises:
            StateCorruptError: a record is of an unknown version or shape.
            LaterError: the changelog gave nothing for too long.
            aiokafka.errors.KafkaError: the broker failed.
        """
        self.memory = await self._restored()
        self.commits.position = dict(committed)

    async def save_snapshot(self, *, due_only: bool = True) -> None:
        """Take a snapshot, where there is a place for one; no batch may be open."""
        snapshots, covered = self._snapshots, self._covered
        if snapshots is None or self.memory is None or not covered:
            return
        if snapshots.due(covered) or not due_only:
            await snapshots.save(self.memory, covered)

    @property
    def snapshot_is_due(self) -> bool:
        """Whether `save_snapshot` would take one."""
        covered = self._covered
        return bool(self._snapshots is not None and covered and self._snapshots.due(covered))

    @property
    def _covered(self) -> int | None:
        """The changelog's offset below which the memory holds everything; None where unknown."""
        if self._changelog is None:
            return None
        return self.commits.written.get((self._changelog.topic, self._changelog.partition))

    async def _restored(self) -> LaneMemory:
        open_memory = partial(LaneMemory, self._stage)
        if (changelog := self._changelog) is None:
            return open_memory()
        remaining = partial(self._world.telemetry.restore_remaining, self._partition)
        log = self._world.log
        restored = await restore(log, changelog, open_memory, remaining, self._snapshots)
        self.commits.written[changelog.topic, changelog.partition] = restored.covered
        return restored.state

    def _open_snapshots(self) -> Snapshots | None:
        world, folder = self._world, self._world.settings.state_dir
        if self._changelog is None or folder is None:
            return None
        spot = SnapshotSpot(folder, self._stage.group, self._changelog, world.clock)
        settings = world.settings
        policy = SnapshotPolicy(settings.snapshot_interval_ms, settings.snapshot_records_min)
        return Snapshots(spot, world.log, world.telemetry.tell, policy)
