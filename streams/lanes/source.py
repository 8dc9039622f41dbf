"""The source: a stage's member of its group, and the lanes that the group gives it.

A `mode` service of the Faust app. The rebalance listener only starts and stops lane tasks: no
heartbeat runs inside it, so nothing that takes long may happen there. Lanes fetch for themselves,
each its own partitions; a lane that is behind delays nobody, and nobody fetches for a lane that
has no room. A member that cannot go on is replaced by another; the lanes stay warm.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from batuta.schemas.errors import LaterError, TopicMismatchError
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.backpressure import Backpressure
from batuta.streams.lanes.lane import Lane
from batuta.streams.lanes.lane_facts import ConsumerReplaced
from batuta.streams.lanes.log import Member
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.ownership import Ownership
from batuta.streams.lanes.retries import restart_backoff_ms
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.lanes.whose import STAGE
from batuta.streams.lanes.world import LaneWorld

__all__ = ["Source"]

_WATCH_S: Final = 0.2


class Source(Service):
    """Feeds one stage.

    Attributes:
        failure: what stopped a lane, or the whole source, for good; a human must act.
    """

    def __init__(self, stage: AnyStage, world: LaneWorld) -> None:
        self.stage = stage
        self.failure: Exception | None = None
        self._world = world
        self._assignor = LaneAssignor()
        self._lanes: dict[int, Lane] = {}
        self._failed: set[int] = set()
        self._lane_tasks: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._member: Member | None = None
        self._consuming: asyncio.Task[None] | None = None
        self._ownership: Ownership | None = None
        self._draining = False
        self._ending = False
        super().__init__()

    @property
    def ready(self) -> bool:
        """Whether the group has answered and every lane given is at work."""
        return (
            self._ownership is not None
            and self._ownership.held
            and self.failure is None
            and not self._hidden_topics()
            and all(lane.ready for lane in self._lanes.values())
        )

    def memories(self) -> dict[int, LaneMemory]:
        """Return what each lane that is at work remembers, by partition; to be looked at only."""
        held = {number: lane.memory for number, lane in self._lanes.items() if lane.ready}
        return {number: memory for number, memory in held.items() if memory is not None}

    # Service

    async def on_start(self) -> None:
        """Begin to join the group; `ready` says when that is done."""
        self._consuming = asyncio.create_task(self._consume(), name=self.stage.group)

    async def on_stop(self) -> None:
        """Finish what is being committed, leave the group, let go of every lane."""
        self._ending = True
        await self._suspend()
        if (consuming := self._consuming) is not None:
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()), *self._closing)
        self._lanes.clear()

    async def drain(self) -> None:
        """Let every lane finish the batch it has, then fetch no more."""
        self._draining = True
        if self._ownership is not None:
            self._ownership.drain()
        await asyncio.gather(*self._lane_tasks.values(), return_exceptions=True)

    # Member

    async def _consume(self) -> None:
        """Keep a member in the group, a new one where the last cannot go on."""
        STAGE.set(self.stage.name)
        restarts = 0
        while True:
            try:
                await self._consume_once()
            except (LaterError, KafkaError, OSError) as error:
                self._world.telemetry.tell(ConsumerReplaced(error))
            except Exception as error:  # noqa: BLE001  told in `failure`, which ends readiness
                self._fail(error)
                return
            await asyncio.sleep(restart_backoff_ms(restarts, self._world.settings) / 1000)
            restarts += 1

    async def _consume_once(self) -> None:
        """Join the group, then watch over the member until something is wrong."""
        self._member = member = self._world.log.member(
            self.stage.group, self._assignor, self._world.settings.instance_id
        )
        try:
            await member.start(self.stage.inputs, self)
            while True:
                member.raise_error()
                self._check_counts()
                self._watch_lanes()
                await asyncio.sleep(_WATCH_S)
        finally:
            await self._suspend()
            await self._close(member)

    def _watch_lanes(self) -> None:
        if self._ownership is not None:
            self._ownership.watch([n for n, lane in self._lanes.items() if lane.ready])

    async def _close(self, member: Member) -> None:
        """Leave the group, unless that takes longer than the group would wait for us."""
        try:
            async with asyncio.timeout(self._world.settings.session_timeout_ms / 1000):
                await member.stop()
        except (TimeoutError, KafkaError):
            await member.abandon()

    def _check_counts(self) -> None:
        """Stop where an input has not the partitions that keys were placed by.

        Raises:
            TopicMismatchError: with the topic and both counts.
        """
        assert self._member is not None
        for topic in self.stage.inputs:
            known = self._member.partition_count(topic)
            declared = self._world.partition_of[topic].partitions
            if known is not None and known != declared:
                raise TopicMismatchError(
                    f"{topic} has {known} partitions and had {declared} when this worker"
                    " started: keys would part from their state. Put the count right and start"
                    " again"
                )

    def _hidden_topics(self) -> list[str]:
        """Return the inputs that the brokers do not show: deleted, or forbidden to us."""
        assert self._member is not None
        inputs = self.stage.inputs
        return [topic for topic in inputs if self._member.partition_count(topic) is None]

    # Rebalance

    async def on_revoked(self) -> None:
        """End the ownership; wait for running commits alone."""
        await self._suspend()

    async def on_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Start a task for each lane given; lanes that stay keep producer and state."""
        assert self._member is not None
        if self._ending:
            return
        given = {tp.partition for tp in assigned}
        self._world.telemetry.rebalanced(self._lanes, given)
        try:
            self._check_counts()
        except TopicMismatchError:
            return  # no lane starts; `_consume_once` finds the same and says it
        self._ownership = Ownership(self._member, self._backpressure(self._member))
        if self._draining:
            self._ownership.drain()
        for partition in set(self._lanes) - given:
            self._close_later(self._lanes.pop(partition))
        for partition in sorted(given):
            self._start_lane(partition, self._ownership)

    def _backpressure(self, member: Member) -> Backpressure:
        world = self._world
        return Backpressure(member, world.telemetry, world.settings.pause_after_ms)

    def _start_lane(self, partition: int, ownership: Ownership) -> None:
        """Start a lane's task, unless trouble of our own stopped it in this process before."""
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = Lane(self.stage, partition, self._world)
        if partition not in self._failed:
            serving = self._serve(lane, ownership)
            task = asyncio.create_task(serving, name=f"{self.stage.group}-{partition}")
            self._lane_tasks[partition] = task

    async def _serve(self, lane: Lane, ownership: Ownership) -> None:
        """Serve a lane; what it cannot go on from stops it for good."""
        try:
            await lane.serve(ownership)
        except Exception as error:  # noqa: BLE001  told in `failure`, which ends readiness
            self._failed.add(lane.partition)
            self._fail(error)
            self._world.telemetry.lane_failed(lane.partition, error)
            await lane.close("failed")

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error

    async def _suspend(self) -> None:
        if self._ownership is not None:
            self._ownership.revoke()
        await asyncio.gather(*(lane.settle() for lane in self._lanes.values()))
        tasks = list(self._lane_tasks.values())
        self._lane_tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_later(self, lane: Lane) -> None:
        task = asyncio.create_task(lane.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
