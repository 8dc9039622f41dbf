"""The lane's producer: one Kafka transaction for outputs, state and offsets, or nothing.

aiokafka's `commit_transaction()` succeeds although a batch of the transaction was refused, so
every delivery is awaited and checked before the offsets go in: a refused output can never let an
offset through. A producer whose transaction failed is finished (it would answer
OutOfOrderSequenceNumber from then on); the lane throws it away and starts another.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from batuta.schemas.errors import LaterError, OutputRefusedError
from batuta.streams.lanes.batch_limits import BatchLimits, open_batch
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.kafka_shim import abandon_producer, append_rows
from batuta.streams.lanes.log import Destination, Row, TransactionFailedError
from batuta.streams.settings import Settings, client_options
from batuta.streams.unwaited import look_at

if TYPE_CHECKING:
    from aiokafka.structs import RecordMetadata

__all__ = ["Destination", "LaneProducer", "Row", "TransactionFailedError"]

_Parcel = tuple[str, int, BatchBuilder]

#: What is wrong with the record itself; aiokafka does not know INVALID_RECORD by name. A refused
#: timestamp is none of it: records carry this machine's time, and it is the clock that is wrong.
_REFUSALS: Final = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)
#: Larger than any dead letter: the topic's own limit decides, not ours.
_REQUEST_BYTES_MAX: Final = 64 << 20


class LaneProducer:
    """One transactional producer; good until its first failed transaction.

    Args:
        limits: what is known of how large a batch each topic takes.
    """

    def __init__(
        self, settings: Settings, transactional_id: str, limits: BatchLimits | None = None
    ) -> None:
        self._limits = BatchLimits() if limits is None else limits
        # The broker aborts after one transaction timeout; after two its answer does not matter.
        self._patience_s = 2 * settings.transaction_timeout_ms / 1000
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            transactional_id=transactional_id,
            transaction_timeout_ms=settings.transaction_timeout_ms,
            metadata_max_age_ms=settings.metadata_age_ms_max,
            acks="all",
            linger_ms=0,
            retry_backoff_ms=settings.transaction_backoff_ms,
            max_request_size=_REQUEST_BYTES_MAX,
        )

    async def start(self) -> None:
        """Take the transactional id: a former owner is fenced and its open transaction aborted.

        Raises:
            LaterError: the transaction coordinator did not answer in time.
            aiokafka.errors.KafkaError: no broker answered.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                reach("producer.start")
                await self._producer.start()
        except TimeoutError as late:
            await self.discard()
            raise LaterError("the transaction coordinator gave no producer id in time") from late
        except BaseException:
            await self.discard()
            raise

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each topic has, as far as this producer was told.

        Raises:
            LaterError: the broker does not know a topic.
            aiokafka.errors.KafkaError: the broker failed.
        """
        counts: dict[str, int] = {}
        for topic in topics:
            try:
                async with asyncio.timeout(self._patience_s):
                    reach("producer.counts")
                    counts[topic] = len(await self._producer.partitions_for(topic))
            except TimeoutError as late:
                raise LaterError(f"the broker knows no topic {topic}") from late
        return counts

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> dict[Destination, int]:
        """Write `rows` and `offsets`, where there are any, in one transaction.

        Returns:
            For each destination the offset behind the last record written to it; a destination is
            missing where the broker no longer knew, having had the same batch twice.

        Raises:
            OutputRefusedError: a record was refused; the transaction was aborted.
            TransactionFailedError: anything else.
        """
        # What cannot be encoded is found before the transaction begins.
        parcels = [parcel for place, part in rows.items() for parcel in self._parcels(place, part)]
        outcome: Literal["aborted", "unknown"] = "aborted"
        try:
            async with asyncio.timeout(self._patience_s):
                reach("producer.begin")
                await self._producer.begin_transaction()
                ends = await self._deliver(parcels)
                if offsets:
                    reach("producer.offsets")
                    await self._producer.send_offsets_to_transaction(dict(offsets), group)
                outcome = "unknown"
                reach("producer.commit")
                await self._producer.commit_transaction()
                reach("producer.committed")
        except OutputRefusedError:
            await self._abort()
            raise
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise TransactionFailedError(error, outcome) from error
        return ends

    async def _deliver(self, parcels: Iterable[_Parcel]) -> dict[Destination, int]:
        """Send every parcel and raise the first answer that is not a success."""
        deliveries: list[tuple[_Parcel, asyncio.Future[RecordMetadata]]] = []
        for parcel in parcels:
            topic, partition, batch = parcel
            reach("producer.send")
            sent = await self._producer.send_batch(batch, topic, partition=partition)
            # Where an earlier one fails nobody may be left to look at this one.
            sent.add_done_callback(look_at)
            deliveries.append((parcel, sent))
        ends: dict[Destination, int] = {}
        for (topic, partition, batch), sent in deliveries:
            try:
                reach("producer.delivery")
                first = (await sent).offset
            except _REFUSALS as refusal:
                count, size_bytes = batch.record_count(), batch.size()
                raise self._limits.refused(topic, refusal, count, size_bytes) from refusal
            if first >= 0:
                ends[topic, partition] = first + batch.record_count()
            else:
                ends.pop((topic, partition), None)
        return ends

    def _parcels(self, place: Destination, rows: Iterable[Row]) -> Iterable[_Parcel]:
        limit_bytes = self._limits.of(place[0])
        coming = iter(rows)
        batch = open_batch(limit_bytes)
        while (left := append_rows(batch, coming)) is not None:
            yield *place, batch
            batch = open_batch(limit_bytes)
            # An empty batch takes a record of any size; the topic's own limit decides.
            refused = append_rows(batch, (left,))
            assert refused is None, "an empty batch refused a record"
        if batch.record_count():
            yield *place, batch

    async def _abort(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                reach("producer.abort")
                await self._producer.abort_transaction()
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise TransactionFailedError(error, "aborted") from error

    async def discard(self) -> None:
        """Close the connections; nothing more is sent, not even what was begun."""
        reach("producer.discard")
        await abandon_producer(self._producer)
