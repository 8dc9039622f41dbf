"""The lane's producer: one Kafka transaction for outputs, state and offsets, or nothing.

aiokafka's `commit_transaction()` succeeds although a batch of the transaction was refused, so
every delivery is awaited and checked before the offsets go in: a refused output can never let an
offset through. A producer whose transaction failed is finished (it would answer
OutOfOrderSequenceNumber from then on); the lane throws it away and starts another.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)

from batuta.schemas.errors import LaterError, OutputRefusedError
from batuta.schemas.record import Headers
from batuta.streams.kafka_shim import abandon
from batuta.streams.settings import Settings, client_options

__all__ = ["Destination", "LaneProducer", "Row", "TransactionFailedError"]

#: A batch of records for one partition: key, value, headers.
Row = tuple[bytes | None, bytes | None, Headers]
Destination = tuple[str, int]

_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
_BATCH_BYTES_MAX: Final = 1 << 20
#: Larger than any dead letter: the topic's own limit decides, not ours.
_REQUEST_BYTES_MAX: Final = 64 << 20


@dataclass
class TransactionFailedError(LaterError):
    """A transaction did not commit, or nobody can say whether it did.

    Attributes:
        fenced: another producer took over this lane's transactional id.
    """

    cause: BaseException
    fenced: bool

    def __str__(self) -> str:
        """Say what failed."""
        return f"transaction failed: {self.cause!r}"


class LaneProducer:
    """One transactional producer; good until its first failed transaction."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._timeout_s = settings.transaction_timeout_ms / 1000
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            transactional_id=transactional_id,
            transaction_timeout_ms=settings.transaction_timeout_ms,
            acks="all",
            linger_ms=0,
            retry_backoff_ms=settings.transaction_backoff_ms,
            max_batch_size=_BATCH_BYTES_MAX,
            max_request_size=_REQUEST_BYTES_MAX,
        )

    async def start(self) -> None:
        """Take the transactional id: a former owner is fenced and its open transaction aborted."""
        try:
            await self._producer.start()
        except BaseException:
            await self.discard()
            raise

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> None:
        """Write `rows` and `offsets` in one transaction.

        Raises:
            OutputRefusedError: a record was refused; the transaction was aborted.
            TransactionFailedError: anything else; whether it committed is unknown.
        """
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                await self._producer.begin_transaction()
                await self._deliver(rows)
                await self._producer.send_offsets_to_transaction(dict(offsets), group)
                await self._producer.commit_transaction()
        except OutputRefusedError:
            await self._abort()
            raise
        except (KafkaError, TimeoutError, AssertionError) as error:
            fenced = isinstance(error, ProducerFenced | InvalidProducerEpoch)
            raise TransactionFailedError(error, fenced=fenced) from error

    async def _deliver(self, rows: Mapping[Destination, Iterable[Row]]) -> None:
        deliveries: list[asyncio.Future[object]] = []
        owners: list[str] = []
        for (topic, partition), partition_rows in rows.items():
            for batch in self._batches(partition_rows):
                sent = await self._producer.send_batch(batch, topic, partition=partition)
                deliveries.append(sent)
                owners.append(topic)
        results = await asyncio.gather(*deliveries, return_exceptions=True)
        for topic, result in zip(owners, results, strict=True):
            if isinstance(result, _TOO_LARGE):
                raise OutputRefusedError(f"{topic} refused a record: {result!r}", retriable=False)
            if isinstance(result, BaseException):
                raise result

    def _batches(self, rows: Iterable[Row]) -> Iterable[object]:
        batch = self._producer.create_batch()
        for key, value, headers in rows:
            pairs = list(headers)
            if batch.append(timestamp=None, key=key, value=value, headers=pairs) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=pairs)
        if batch.record_count():
            yield batch

    async def _abort(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._producer.abort_transaction()
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise TransactionFailedError(error, fenced=False) from error

    async def discard(self) -> None:
        """Close the connections; nothing more is sent, not even what was begun."""
        await abandon(self._producer)
