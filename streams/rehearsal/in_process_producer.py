"""A transactional producer over a wire: what aiokafka's does, try by try, without aiokafka.

One request at a time, each tried again where aiokafka tries again: a lost answer above all. A
batch keeps its sequence number, so the broker knows one that arrives twice. What ends aiokafka's
sender ends the transaction here; how long one may take in all is bounded as `LaneProducer` is.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    NoError,
    NotCoordinatorError,
    OperationNotAttempted,
    ProducerClosed,
    ProducerFenced,
    RecordListTooLargeError,
    RequestTimedOutError,
    UnknownError,
    UnknownTopicOrPartitionError,
    for_code,
)

from batuta.schemas.errors import LaterError, OutputRefusedError
from batuta.streams.broker.messages_cluster import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from batuta.streams.broker.messages_offsets import (
    TopicErrors,
    TopicPartitions,
    TxnCommitPartition,
    TxnCommitTopic,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
from batuta.streams.broker.messages_records import (
    ProducePartition,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.lanes.batch_limits import BatchLimits
from batuta.streams.lanes.log import Destination, Row, TransactionFailedError
from batuta.streams.rehearsal.in_process_records import OutgoingBatch, outgoing_batches
from batuta.streams.rehearsal.wire import Link
from batuta.streams.settings import Settings

__all__ = ["InProcessProducer"]

R = TypeVar("R")
ErrorClass = type[KafkaError]

_ACKS_ALL: Final = -1
_SEQUENCES: Final = 1 << 31
#: What is wrong with the record itself, in aiokafka's words; see `LaneProducer`.
_REFUSALS: Final = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)
_COORDINATOR_BUSY: Final = frozenset(
    {
        ConcurrentTransactions,
        CoordinatorLoadInProgressError,
        CoordinatorNotAvailableError,
        NotCoordinatorError,
    }
)
#: Where one partition is unknown, nothing is attempted for the others.
_PARTITION_MISSING: Final = _COORDINATOR_BUSY | {
    OperationNotAttempted,
    UnknownTopicOrPartitionError,
}


class InProcessProducer:
    """One transactional producer; good until its first failed transaction."""

    def __init__(
        self,
        link: Link,
        transactional_id: str,
        settings: Settings,
        clock: Callable[[], int],
        limits: BatchLimits | None = None,
    ) -> None:
        self._limits = BatchLimits() if limits is None else limits
        self._link = link
        self._id = transactional_id
        self._clock = clock
        self._timeout_ms = settings.transaction_timeout_ms
        self._backoff_s = settings.transaction_backoff_ms / 1000
        self._metadata_age_s = settings.metadata_age_ms_max / 1000
        self._patience_s = 2 * settings.transaction_timeout_ms / 1000
        self._owner = (-1, -1)
        self._sequences: dict[Destination, int] = {}
        self._counts: dict[str, int] = {}
        self._counts_known_at_s = 0.0
        self._closed = False

    async def start(self) -> None:
        """Take the transactional id: a former owner is fenced and its open transaction aborted.

        Raises:
            LaterError: the coordinator gave no producer id in time.
        """
        request = InitProducerIdRequest(self._id, self._timeout_ms)
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await self._until(
                    request, InitProducerIdResponse, _code_of, _COORDINATOR_BUSY
                )
        except TimeoutError as late:
            raise LaterError("the transaction coordinator gave no producer id in time") from late
        self._owner = (answer.producer_id, answer.producer_epoch)

    async def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each topic has, as far as this producer was told.

        Raises:
            LaterError: the broker does not know a topic.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s - self._counts_known_at_s > self._metadata_age_s:
            self._counts.clear()
        wanted = list(topics)
        missing = sorted(topic for topic in wanted if topic not in self._counts)
        if missing:
            self._counts_known_at_s = now_s
            await self._learn(missing)
        return {topic: self._counts[topic] for topic in wanted}

    async def _learn(self, missing: list[str]) -> None:
        request = MetadataRequest(tuple(MetadataRequestTopic(name=name) for name in missing))
        try:
            async with asyncio.timeout(self._patience_s):
                while missing:
                    answer = await self._try(request, MetadataResponse)
                    if answer is not None:
                        for topic in answer.topics:
                            if not topic.error_code:
                                self._counts[topic.name or ""] = len(topic.partitions)
                    missing = [topic for topic in missing if topic not in self._counts]
                    if missing:
                        await asyncio.sleep(self._backoff_s)
        except TimeoutError as late:
            raise LaterError(f"the broker knows no topic {missing[0]}") from late

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> dict[Destination, int]:
        """Write `rows` and `offsets` in one transaction; see `TransactionalProducer.transact`.

        Raises:
            OutputRefusedError: a record was refused; the transaction was aborted.
            TransactionFailedError: anything else.
        """
        now_ms = self._clock()
        limit_of = self._limits.of
        batches = {
            place: outgoing_batches(part, now_ms, limit_of(place[0]))
            for place, part in rows.items()
        }
        batches = {place: part for place, part in batches.items() if part}
        outcome: Literal["aborted", "unknown"] = "aborted"
        try:
            async with asyncio.timeout(self._patience_s):
                ends = await self._deliver(batches)
                if offsets:
                    await self._send_offsets(offsets, group)
                outcome = "unknown"
                if batches or offsets:
                    await self._end(commit=True)
        except OutputRefusedError:
            await self._abort()
            raise
        except (KafkaError, TimeoutError) as error:
            raise TransactionFailedError(error, outcome) from error
        return ends

    async def discard(self) -> None:
        """Send nothing more."""
        self._closed = True

    # Parts of a transaction

    async def _deliver(
        self, batches: Mapping[Destination, list[OutgoingBatch]]
    ) -> dict[Destination, int]:
        """Write every batch, the n-th of each partition together."""
        ends: dict[Destination, int] = {}
        if batches:
            await self._add_partitions(batches)
        for number in range(max(map(len, batches.values()), default=0)):
            part = {place: queue[number] for place, queue in batches.items() if number < len(queue)}
            for place, batch in part.items():
                sequence = self._sequences.get(place, 0)
                batch.seal(self._owner, sequence)
                self._sequences[place] = (sequence + batch.count) % _SEQUENCES
            await self._produce(part, ends)
        return ends

    async def _add_partitions(self, places: Iterable[Destination]) -> None:
        request = AddPartitionsToTxnRequest(self._id, *self._owner, _by_topic(places))
        await self._until(request, AddPartitionsToTxnResponse, _codes_of_topics, _PARTITION_MISSING)

    async def _produce(
        self, batches: Mapping[Destination, OutgoingBatch], ends: dict[Destination, int]
    ) -> None:
        """Send one batch per partition, those that were not taken again and again."""
        left = dict(batches)
        refused: BaseException | None = None
        while left:
            answer = await self._try(self._produce_request(left), ProduceResponse)
            if answer is None:
                continue
            for topic in answer.topics:
                for found in topic.partitions:
                    place = (topic.name, found.partition)
                    error = for_code(found.error_code)
                    if error in (NoError, DuplicateSequenceNumber):
                        batch = left.pop(place)
                        _note_end(ends, place, found.base_offset, batch.count)
                    elif not error.retriable:
                        batch = left.pop(place)
                        refused = refused or self._refusal(error, topic.name, batch)
            if left and refused is None:
                await asyncio.sleep(self._backoff_s)
            if refused is not None:
                raise refused

    def _refusal(self, error: ErrorClass, topic: str, batch: OutgoingBatch) -> BaseException:
        """Return what a batch that no further try can save means for its transaction."""
        cause: BaseException = ProducerFenced() if error is InvalidProducerEpoch else error()
        if isinstance(cause, _REFUSALS):
            return self._limits.refused(topic, cause, batch.count, len(batch.data))
        return cause

    def _produce_request(self, batches: Mapping[Destination, OutgoingBatch]) -> ProduceRequest:
        by_topic: dict[str, list[ProducePartition]] = {}
        for (topic, partition), batch in batches.items():
            by_topic.setdefault(topic, []).append(ProducePartition(partition, batch.data))
        topics = tuple(ProduceTopic(topic, tuple(part)) for topic, part in by_topic.items())
        return ProduceRequest(self._id, _ACKS_ALL, self._timeout_ms, topics)

    async def _send_offsets(self, offsets: Mapping[TopicPartition, int], group: str) -> None:
        joined = AddOffsetsToTxnRequest(self._id, *self._owner, group)
        await self._until(joined, AddOffsetsToTxnResponse, _code_of, _COORDINATOR_BUSY)
        by_topic: dict[str, list[TxnCommitPartition]] = {}
        for (topic, partition), offset in sorted(offsets.items()):
            by_topic.setdefault(topic, []).append(TxnCommitPartition(partition, offset, -1, ""))
        topics = tuple(TxnCommitTopic(topic, tuple(part)) for topic, part in by_topic.items())
        request = TxnOffsetCommitRequest(self._id, group, *self._owner, topics=topics)
        again = _PARTITION_MISSING | {RequestTimedOutError}
        await self._until(request, TxnOffsetCommitResponse, _codes_of_topics, again)

    async def _end(self, *, commit: bool) -> None:
        request = EndTxnRequest(self._id, *self._owner, commit)
        await self._until(request, EndTxnResponse, _code_of, _COORDINATOR_BUSY)

    async def _abort(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._end(commit=False)
        except (KafkaError, TimeoutError) as error:
            raise TransactionFailedError(error, "aborted") from error

    # Asking

    async def _until(
        self,
        request: object,
        answer: type[R],
        codes_of: Callable[[R], Iterable[int]],
        again: frozenset[ErrorClass],
    ) -> R:
        """Ask until the answer is a success.

        Raises:
            aiokafka.errors.KafkaError: an error that is not one of `again`.
        """
        while True:
            found = await self._try(request, answer)
            if found is None:
                continue
            errors = [for_code(code) for code in codes_of(found) if code]
            if not errors:
                return found
            for error in errors:
                if error not in again:
                    raise ProducerFenced if error is InvalidProducerEpoch else error
            await asyncio.sleep(self._backoff_s)

    async def _try(self, request: object, answer: type[R]) -> R | None:
        """Ask once; None, after a pause, where there is no answer.

        Raises:
            ProducerClosed: it was discarded meanwhile.
        """
        if self._closed:
            raise ProducerClosed
        try:
            return await self._link.ask(request, answer)
        except KafkaError:
            await asyncio.sleep(self._backoff_s)
            return None


def _code_of(
    answer: InitProducerIdResponse | AddOffsetsToTxnResponse | EndTxnResponse,
) -> tuple[int]:
    return (answer.error_code,)


def _codes_of_topics(answer: AddPartitionsToTxnResponse | TxnOffsetCommitResponse) -> list[int]:
    topics: tuple[TopicErrors, ...] = answer.topics
    return [entry.error_code for topic in topics for entry in topic.partitions]


def _by_topic(places: Iterable[Destination]) -> tuple[TopicPartitions, ...]:
    by_topic: dict[str, list[int]] = {}
    for topic, partition in places:
        by_topic.setdefault(topic, []).append(partition)
    return tuple(TopicPartitions(topic, tuple(part)) for topic, part in by_topic.items())


def _note_end(ends: dict[Destination, int], place: Destination, first: int, count: int) -> None:
    if first >= 0:
        ends[place] = first + count
    else:
        ends.pop(place, None)
