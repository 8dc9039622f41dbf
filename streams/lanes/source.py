"""The source: a stage's consumer, and the lanes that the group gives it.

A `mode` service of the Faust app. The rebalance listener only starts and stops lane tasks: no
heartbeat runs inside it, so nothing that takes long may happen there. Lanes fetch for themselves,
each its own partitions; a lane that is behind delays nobody, and nobody fetches for a lane that
has no room. A consumer that cannot go on is replaced by another; the lanes stay warm.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from batuta.schemas.errors import LaterError, TopicMismatchError
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.kafka_shim import abandon_consumer, hurry_consumer, raise_consumer_error
from batuta.streams.lanes.lane import Lane, LaneWorld
from batuta.streams.lanes.lane_facts import ConsumerReplaced
from batuta.streams.lanes.ownership import Ownership, as_record
from batuta.streams.lanes.retries import restart_backoff_ms
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.settings import Settings, client_options

__all__ = ["Source"]

#: Lanes poll for as long as they like: progress is seen in the lag, not by a poll interval.
_POLL_INTERVAL_MS_MAX: Final = 2**62
_WATCH_S: Final = 0.2


class Source(Service, ConsumerRebalanceListener):
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
        self._consumer: AIOKafkaConsumer | None = None
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

    # Consumer

    async def _consume(self) -> None:
        """Keep a consumer in the group, a new one where the last cannot go on."""
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
        """Join the group, then watch over the consumer until something is wrong."""
        self._consumer = consumer = _consumer(
            self._world.settings, self.stage.group, self._assignor
        )
        try:
            consumer.subscribe(list(self.stage.inputs), listener=self)
            await consumer.start()
            while True:
                raise_consumer_error(consumer)
                self._check_counts()
                await asyncio.sleep(_WATCH_S)
        finally:
            await self._suspend()
            await self._close(consumer)

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        """Leave the group, unless that takes longer than the group would wait for us."""
        try:
            async with asyncio.timeout(self._world.settings.session_timeout_ms / 1000):
                await consumer.stop()
        except (TimeoutError, KafkaError):
            await abandon_consumer(consumer)

    def _check_counts(self) -> None:
        """Stop where an input has not the partitions that keys were placed by.

        Raises:
            TopicMismatchError: with the topic and both counts.
        """
        assert self._consumer is not None
        for topic in self.stage.inputs:
            known = self._consumer.partitions_for_topic(topic)
            declared = self._world.partition_of[topic].partitions
            if known and len(known) != declared:
                raise TopicMismatchError(
                    f"{topic} has {len(known)} partitions and had {declared} when this worker"
                    " started: keys would part from their state. Put the count right and start"
                    " again"
                )

    def _hidden_topics(self) -> list[str]:
        """Return the inputs that the brokers do not show: deleted, or forbidden to us."""
        assert self._consumer is not None
        inputs = self.stage.inputs
        return [topic for topic in inputs if not self._consumer.partitions_for_topic(topic)]

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
        hurry_consumer(self._consumer, as_record)
        if self._ending:
            return
        self._world.telemetry.rebalanced()
        try:
            self._check_counts()
        except TopicMismatchError:
            return  # no lane starts; `_consume_once` finds the same and says it
        self._ownership = Ownership(self._consumer, self._world.settings.poll_timeout_ms)
        if self._draining:
            self._ownership.drain()
        given = {tp.partition for tp in assigned}
        for partition in set(self._lanes) - given:
            self._close_later(self._lanes.pop(partition))
        for partition in sorted(given):
            self._start_lane(partition, self._ownership)

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


def _consumer(settings: Settings, group: str, assignor: LaneAssignor) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(settings),
        group_id=group,
        enable_auto_commit=False,
        # Lanes say where to begin; a reset behind their back would lose or double events.
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_bytes=settings.fetch_bytes_max,
        max_partition_fetch_bytes=settings.fetch_partition_bytes_max,
        fetch_max_wait_ms=settings.fetch_wait_ms_max,
        metadata_max_age_ms=settings.metadata_age_ms_max,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        rebalance_timeout_ms=settings.rebalance_timeout_ms,
        max_poll_interval_ms=_POLL_INTERVAL_MS_MAX,
        retry_backoff_ms=100,
        partition_assignment_strategy=[assignor],
    )
