"""The log port over aiokafka: real brokers, real sockets."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from batuta.schemas.errors import InstanceIdTakenError, LaterError
from batuta.schemas.record import Record
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.batch_limits import BatchLimits
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.kafka_shim import (
    Place,
    abandon_consumer,
    heartbeat_error_code,
    hurry_consumer,
    keep_place,
    raise_consumer_error,
)
from batuta.streams.lanes.log import Assignments, Offsets
from batuta.streams.lanes.producer import LaneProducer
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_limits import batch_bytes_max

__all__ = ["KafkaLog", "KafkaMember", "KafkaReader"]

#: Lanes poll for as long as they like: progress is seen in the lag, not by a poll interval.
_POLL_INTERVAL_MS_MAX: Final = 2**62
_READ_WAIT_MS: Final = 200
_READ_BYTES_MAX: Final = 16 << 20


class KafkaLog:
    """Clients of the cluster that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = BatchLimits()

    def member(
        self, group: str, assignor: LaneAssignor, instance_id: str | None = None
    ) -> "KafkaMember":
        """Return a member of `group`, not yet started; see `Log.member`."""
        return KafkaMember(self._settings, group, assignor, instance_id)

    def producer(self, transactional_id: str) -> LaneProducer:
        """Return a producer, not yet started."""
        return LaneProducer(self._settings, transactional_id, self._limits)

    def reader(self, tp: TopicPartition) -> "KafkaReader":
        """Return a reader of one partition, not yet started."""
        return KafkaReader(self._settings, tp)

    async def batch_bytes_max(self, topic: str) -> int | None:
        """Return how large a batch a topic takes; see `Log.batch_bytes_max`."""
        return await batch_bytes_max(self._settings, topic)


class KafkaMember:
    """An aiokafka consumer in a group."""

    def __init__(
        self, settings: Settings, group: str, assignor: LaneAssignor, instance_id: str | None
    ) -> None:
        self._group = group
        self._instance_id = instance_id
        self._listener: _Listener | None = None
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=group,
            group_instance_id=instance_id,
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

    async def start(self, topics: Sequence[str], assignments: Assignments) -> None:
        """Subscribe, and begin to join the group."""
        self._listener = _Listener(self._consumer, assignments, self._instance_id)
        self._consumer.subscribe(list(topics), listener=self._listener)
        try:
            await self._consumer.start()
        except KafkaError:
            self._check_place()
            raise

    async def stop(self) -> None:
        """Leave the group; of a static member aiokafka tells the group nothing."""
        await _stop(self._consumer)

    async def abandon(self) -> None:
        """Let go of connections and tasks; the group notices by the silence."""
        await abandon_consumer(self._consumer)

    def raise_error(self) -> None:
        """Raise what stopped one of the consumer's own tasks."""
        self._check_place()
        raise_consumer_error(self._consumer)

    def _check_place(self) -> None:
        """Raise where another worker came under our instance id: it has our lanes now."""
        place = None if self._listener is None else self._listener.place
        if place is not None and place.taken:
            raise InstanceIdTakenError(
                f"another worker has taken the place of instance id {self._instance_id!r} in group"
                f" {self._group}: give each worker a BATUTA_INSTANCE_ID of its own"
            )

    def partition_count(self, topic: str) -> int | None:
        """Return how many partitions a topic has; None where the brokers do not show it."""
        known = self._consumer.partitions_for_topic(topic)
        return len(known) if known else None

    def assignment(self) -> frozenset[TopicPartition]:
        """Return what this member has now."""
        return frozenset(self._consumer.assignment())

    def pause(self, *tps: TopicPartition) -> None:
        """Fetch nothing of `tps`."""
        self._consumer.pause(*tps)

    def resume(self, *tps: TopicPartition) -> None:
        """Fetch `tps` again."""
        self._consumer.resume(*tps)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read `tp` from `offset` on."""
        self._consumer.seek(tp, offset)

    async def fetch(
        self, tps: Sequence[TopicPartition], records_max: int, timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return committed records of `tps`."""
        assert tps, "aiokafka would fetch every partition of the member"
        reach("member.fetch")
        fetched = await self._consumer.getmany(*tps, timeout_ms=timeout_ms, max_records=records_max)
        # Our records already: `hurry_consumer` saw to it.
        return cast("Mapping[TopicPartition, Sequence[Record]]", fetched)

    async def position(self, tp: TopicPartition) -> int:
        """Return the next offset to read."""
        reach("member.position")
        position: int = await self._consumer.position(tp)
        return position

    def highwater(self, tp: TopicPartition) -> int | None:
        """Return the end of the log as the last fetch saw it."""
        end: int | None = self._consumer.highwater(tp)
        return end

    async def committed(self, tp: TopicPartition) -> int | None:
        """Return the group's committed offset."""
        reach("member.committed")
        offset: int | None = await self._consumer.committed(tp)
        return offset

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> Offsets:
        """Return the first offset that each partition still has."""
        reach("member.beginnings")
        offsets: Offsets = await self._consumer.beginning_offsets(list(tps))
        return offsets

    async def heartbeat_error_code(self) -> int:
        """Send a heartbeat of its own; "rebalance in progress" is no success here."""
        reach("member.heartbeat")
        return await heartbeat_error_code(self._consumer)


class _Listener(ConsumerRebalanceListener):
    """Tells of an assignment once its partitions are paused and its fetcher is ours."""

    def __init__(
        self, consumer: AIOKafkaConsumer, assignments: Assignments, instance_id: str | None
    ) -> None:
        self._consumer = consumer
        self._assignments = assignments
        self._instance_id = instance_id
        self.place: Place | None = None

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, revoked: Iterable[TopicPartition]
    ) -> None:
        """Let go of everything: aiokafka's rebalances are eager, and the first one begins so."""
        del revoked
        if self._instance_id is not None and self.place is None:
            self.place = keep_place(self._consumer, self._instance_id)
        await self._assignments.on_revoked()

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, assigned: Iterable[TopicPartition]
    ) -> None:
        """Pause, and pass on."""
        tps = sorted(assigned)
        self._consumer.pause(*tps)
        hurry_consumer(self._consumer)
        await self._assignments.on_assigned(tps)


class KafkaReader:
    """An aiokafka consumer of one partition, without a group."""

    def __init__(self, settings: Settings, tp: TopicPartition) -> None:
        self._tp = tp
        self._patience_s = settings.request_timeout_ms / 1000
        self._moved_at_s = 0.0
        self._beginning = self._end = self._position = 0
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            enable_auto_commit=False,
            # Anything else would go on at the end, with a part of the partition missing.
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_READ_BYTES_MAX,
            fetch_max_wait_ms=100,
        )

    async def start(self) -> None:
        """Connect and learn where the partition begins and ends."""
        reach("reader.start")
        await self._consumer.start()
        hurry_consumer(self._consumer)
        self._consumer.assign([self._tp])
        reach("reader.end")
        self._end = (await self._consumer.end_offsets([self._tp]))[self._tp]
        reach("reader.beginning")
        self._beginning = (await self._consumer.beginning_offsets([self._tp]))[self._tp]
        self.seek(self._beginning)

    @property
    def beginning(self) -> int:
        """The first offset that the partition had at the start."""
        return self._beginning

    @property
    def end(self) -> int:
        """The offset behind the last committed one at the start."""
        return self._end

    @property
    def position(self) -> int:
        """The next offset to read."""
        return self._position

    def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self._consumer.seek(self._tp, offset)
        self._position = offset
        self._moved_at_s = asyncio.get_running_loop().time()

    async def read(self, records_max: int) -> Sequence[Record]:
        """Return some records in order; an empty list where a moment brought nothing.

        Raises:
            LaterError: the partition gave nothing for as long as any request may take.
        """
        reach("reader.read")
        fetched = await self._consumer.getmany(timeout_ms=_READ_WAIT_MS, max_records=records_max)
        reach("reader.position")
        before, self._position = self._position, await self._consumer.position(self._tp)
        now_s = asyncio.get_running_loop().time()
        if self._position > before:
            self._moved_at_s = now_s
        elif now_s - self._moved_at_s > self._patience_s:
            raise LaterError(f"{self._tp} gives no record from {before} on")
        return cast("Mapping[TopicPartition, Sequence[Record]]", fetched).get(self._tp, [])

    async def stop(self) -> None:
        """Close the connections."""
        await _stop(self._consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, though its `stop()` be cancelled by itself.

    It awaits the fetches that it cancels; of one that was waiting to be tried again it takes the
    cancellation for its own, and whoever called it would take it for theirs.
    """
    stopping = asyncio.create_task(consumer.stop())
    try:
        await asyncio.wait({stopping})
    except asyncio.CancelledError:
        stopping.cancel()
        raise
    if stopping.cancelled():
        await abandon_consumer(consumer)
    else:
        stopping.result()
