"""Publishes records that are not a lane's: files, generated events.

Keys decide the partition by murmur2, as Kafka's Java clients place them. Records go out in batches
built here, a few microseconds each, so that publishing leaves the core to whoever shares it.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Final, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from batuta.schemas.errors import BrokerUnreachableError, OutputRefusedError, TopicMismatchError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output
from batuta.streams.settings import ClientOptions

__all__ = ["Publisher", "Timed"]

_BATCH_BYTES: Final = 512 * 1024
_IN_FLIGHT_MAX: Final = 32


class Timed(NamedTuple):
    """A record to publish, and the timestamp it shall carry."""

    timestamp_ms: int
    output: Output


class Publisher:
    """Publishes to one topic, idempotently, checking every delivery.

    Args:
        options: how to reach the brokers.
        topic: must exist.
    """

    def __init__(self, options: ClientOptions, topic: str) -> None:
        self._topic = topic
        self._bootstrap = options["bootstrap_servers"]
        self._producer = AIOKafkaProducer(
            **options, enable_idempotence=True, linger_ms=0, max_batch_size=_BATCH_BYTES
        )
        self._in_flight: set[asyncio.Future[object]] = set()
        self._refusal: BaseException | None = None
        self._keyless = 0
        self.published = 0

    async def __aenter__(self) -> Self:
        """Connect and learn the topic's partitions.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: the topic does not exist.
        """
        try:
            await self._producer.start()
            partitions = await self._partitions()
        except KafkaError as error:
            await self._producer.stop()
            raise BrokerUnreachableError(f"no broker answers at {self._bootstrap}") from error
        except BaseException:
            await self._producer.stop()
            raise
        self._partition_of = PartitionOf(partitions)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is on its way and disconnect."""
        await self._producer.stop()

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._partition_of.partitions

    async def publish(self, records: Sequence[Timed]) -> None:
        """Send records on their way, in order per partition; waits only where too many are.

        Raises:
            OutputRefusedError: the broker refused a record; those after it were not published.
        """
        for partition, batches in self._batches(records).items():
            for batch in batches:
                await self._room()
                count = batch.record_count()
                future = await self._producer.send_batch(batch, self._topic, partition=partition)
                self._in_flight.add(future)
                future.add_done_callback(partial(self._delivered, count))

    async def flush(self) -> None:
        """Wait until every record is acknowledged.

        Raises:
            OutputRefusedError: the broker refused a record; those after it were not published.
        """
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        self._check()

    async def _partitions(self) -> int:
        known = await self._producer.client.fetch_all_metadata()
        partitions = known.partitions_for_topic(self._topic)
        if not partitions:
            raise TopicMismatchError(
                f"no topic {self._topic} on the broker at {self._bootstrap}: a worker creates the "
                "topics of its pipeline where that is allowed"
            )
        return len(partitions)

    def _batches(self, records: Sequence[Timed]) -> dict[int, list[BatchBuilder]]:
        open_batches: dict[int, list[BatchBuilder]] = {}
        for timestamp_ms, output in records:
            batches = open_batches.setdefault(self._place(output), [])
            if not batches or not _append(batches[-1], timestamp_ms, output):
                batches.append(self._producer.create_batch())
                _append(batches[-1], timestamp_ms, output)
        return open_batches

    def _place(self, output: Output) -> int:
        if output.partition is not None:
            return output.partition
        if output.key is not None:
            return self._partition_of(output.key)
        self._keyless += 1
        return self._keyless % self._partition_of.partitions

    async def _room(self) -> None:
        while len(self._in_flight) >= _IN_FLIGHT_MAX:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        self._check()

    def _delivered(self, count: int, done: "asyncio.Future[object]") -> None:
        self._in_flight.discard(done)
        error = None if done.cancelled() else done.exception()
        if error is None:
            self.published += count
        else:
            self._refusal = self._refusal or error

    def _check(self) -> None:
        if self._refusal is not None:
            raise OutputRefusedError(
                f"{self._topic} refused a record after {self.published:,}: {self._refusal}",
                retriable=False,
            ) from self._refusal


def _append(batch: BatchBuilder, timestamp_ms: int, output: Output) -> bool:
    added = batch.append(
        timestamp=timestamp_ms,
        key=output.key,
        value=output.value,
        headers=list(output.headers),
    )
    return added is not None
