"""The source: a stage's consumer, and the lanes that the group gives it.

A `mode` service of the Faust app. The rebalance listener only starts and stops lane tasks: no
heartbeat runs inside it, so nothing that takes long may happen there. Lanes fetch for themselves,
each its own partitions; a lane that is behind delays nobody, and nobody fetches for a lane that
has no room.
"""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from mode import Service

from batuta.streams.assignor import LaneAssignor
from batuta.streams.kafka_shim import hurry_consumer
from batuta.streams.lane import Lane, LaneWorld
from batuta.streams.ownership import Ownership
from batuta.streams.settings import Settings, client_options
from batuta.streams.stage import AnyStage

__all__ = ["Source"]

#: Lanes poll for as long as they like: progress is seen in the lag, not by a poll interval.
_POLL_INTERVAL_MS_MAX = 2**31 - 1


class Source(Service, ConsumerRebalanceListener):
    """Feeds one stage."""

    def __init__(self, stage: AnyStage, world: LaneWorld) -> None:
        self.stage = stage
        self._world = world
        self._lanes: dict[int, Lane] = {}
        self._lane_tasks: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._consumer: AIOKafkaConsumer | None = None
        self._ownership: Ownership | None = None
        self.failure: Exception | None = None
        super().__init__()

    @property
    def ready(self) -> bool:
        """Whether the group has answered and every lane given is at work."""
        return (
            self._ownership is not None
            and self._ownership.held
            and self.failure is None
            and all(lane.ready for lane in self._lanes.values())
        )

    # Service

    async def on_start(self) -> None:
        """Join the group."""
        settings = self._world.settings
        self._consumer = consumer = _consumer(settings, self.stage.group)
        consumer.subscribe(list(self.stage.inputs), listener=self)
        await consumer.start()
        hurry_consumer(consumer)

    async def on_stop(self) -> None:
        """Finish what is being committed, leave the group, let go of every lane."""
        await self._suspend()
        if self._consumer is not None:
            await self._consumer.stop()
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()), *self._closing)
        self._lanes.clear()

    async def drain(self) -> None:
        """Let every lane finish the batch it has, then fetch no more."""
        if self._ownership is not None:
            self._ownership.drain()
        await asyncio.gather(*self._lane_tasks.values(), return_exceptions=True)

    # Rebalance

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: Iterable[TopicPartition]
    ) -> None:
        """End the ownership; wait for running commits alone."""
        del revoked  # eager: all of them
        await self._suspend()

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assigned: Iterable[TopicPartition]
    ) -> None:
        """Start a task for each lane given; lanes that stay keep producer and state."""
        assert self._consumer is not None
        self._consumer.pause(*assigned)
        self._world.telemetry.rebalanced()
        settings = self._world.settings
        self._ownership = Ownership(self._consumer, settings.poll_timeout_ms)
        given = {tp.partition for tp in assigned}
        for partition in set(self._lanes) - given:
            self._close_later(self._lanes.pop(partition))
        for partition in sorted(given):
            self._start_lane(partition, self._ownership)

    def _start_lane(self, partition: int, ownership: Ownership) -> None:
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = Lane(self.stage, partition, self._world)
        task = asyncio.create_task(lane.serve(ownership), name=f"{self.stage.group}-{partition}")
        task.add_done_callback(lambda done: self._lane_ended(lane, done))
        self._lane_tasks[partition] = task

    def _lane_ended(self, lane: Lane, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        assert isinstance(error, Exception), error
        self.failure = error
        self._world.telemetry.lane_failed(lane.partition, error)

    async def _suspend(self) -> None:
        if self._ownership is not None:
            self._ownership.revoke()
        await asyncio.gather(*(lane.settle() for lane in self._lanes.values()))
        for task in self._lane_tasks.values():
            task.cancel()
        await asyncio.gather(*self._lane_tasks.values(), return_exceptions=True)
        self._lane_tasks.clear()

    def _close_later(self, lane: Lane) -> None:
        task = asyncio.create_task(lane.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _consumer(settings: Settings, group: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=settings.fetch_partition_bytes_max,
        fetch_max_wait_ms=settings.fetch_wait_ms_max,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        rebalance_timeout_ms=settings.rebalance_timeout_ms,
        max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        retry_backoff_ms=100,
        partition_assignment_strategy=[LaneAssignor()],
    )
