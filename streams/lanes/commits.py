"""Commits: how far a lane has come, and the producer that takes it further.

The committed offsets are the truth, but not at once: they are read without waiting for a
transaction whose markers are still being written. Only a producer that has just taken the lane's
transactional id knows that nothing of the lane is under way; so offsets that differ from what the
lane remembers are believed from a new producer alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from batuta.schemas.errors import LaterError, TopicMismatchError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, OutputColumns
from batuta.streams.lanes.batch import Rows, group_rows
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.flights import Flight
from batuta.streams.lanes.log import (
    Destination,
    Log,
    Offsets,
    TransactionalProducer,
    TransactionFailedError,
)
from batuta.streams.lanes.ownership import Ownership
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["Commits", "Unsettled"]


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A transaction whose end nobody saw.

    Attributes:
        offsets: what is committed if it was.
        flight: whose changes the state still holds open; None where it carried offsets alone.
    """

    offsets: Offsets
    flight: Flight | None


class Commits:
    """One lane's transactions.

    Args:
        log: makes the producers.
        group: the consumer group; with the partition it makes the transactional id.
        partition_of: topic name to the partition a key belongs to.
    """

    def __init__(
        self,
        log: Log,
        group: str,
        partition: int,
        partition_of: Mapping[str, PartitionOf],
        telemetry: StageTelemetry,
    ) -> None:
        self._log = log
        self._group = group
        self._transactional_id = f"{group}-{partition}"
        self._partition_of = partition_of
        self._telemetry = telemetry
        self._producer: TransactionalProducer | None = None
        #: An offset that commits move which take no input further: a timer's firing, a late answer.
        #: Else nobody could tell whether such a one happened, or that another owner made one.
        self.counter: TopicPartition | None = None
        self.position: Offsets = {}
        #: The offset behind our last record in each partition written to; None where it is unknown.
        self.written: dict[Destination, int | None] = {}
        self.count = 0
        self.unsettled: Unsettled | None = None

    async def take_over(self, ownership: Ownership, tps: Sequence[TopicPartition]) -> Offsets:
        """Make sure of the lane's producer and return the committed offsets to be believed.

        A producer that is there stays, as long as nobody else has committed.

        Raises:
            OwnershipLostError: the group has moved on.
            LaterError: the group or transaction coordinator did not answer as it should.
        """
        if self._producer is not None:
            committed = await self._committed(ownership, tps)
            if committed == self.position:
                return committed
            await self.discard()
        await self.ensure(ownership)
        return await self._committed(ownership, tps)

    async def _committed(self, ownership: Ownership, tps: Sequence[TopicPartition]) -> Offsets:
        committed = await ownership.committed(tps)
        if self.counter is not None:
            committed[self.counter] = await ownership.counted(self.counter)
        return committed

    async def ensure(self, ownership: Ownership) -> None:
        """Start a producer where there is none; it fences whoever had this lane before."""
        if self._producer is None:
            await ownership.confirm()
            producer = self._log.producer(self._transactional_id)
            await producer.start()
            self._producer = producer

    async def transact(
        self, outputs: Sequence[Output | OutputColumns], offsets: Offsets, flight: Flight | None
    ) -> None:
        """Commit outputs and offsets; after any failure the producer is gone.

        Raises:
            OutputRefusedError: a record was refused; the transaction was aborted.
            TransactionFailedError: anything else of the outside world.
            TopicMismatchError: an output topic has another partition count than declared.
        """
        assert self._producer is not None
        if flight is not None:
            offsets = self._counted(offsets)
        rows = group_rows(outputs, self._partition_of)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._check_counts(self._producer, rows)
            written = await self._producer.transact(rows, offsets, self._group)
        except BaseException as error:
            if not _never_committed(error):
                self.unsettled = Unsettled({**self.position, **offsets}, flight)
            self._telemetry.transaction("aborted", loop.time() - started, len(rows))
            await self.discard()
            raise
        self.position.update(offsets)
        self.written.update(dict.fromkeys(rows, None) | written)
        self.count += 1
        self._telemetry.transaction("committed", loop.time() - started, len(rows))
        reach("commits.noted")

    def _counted(self, offsets: Offsets) -> Offsets:
        """Return offsets of which at least one moves."""
        if self.counter is None or not offsets.items() <= self.position.items():
            return offsets
        return {**offsets, self.counter: self.position.get(self.counter, 0) + 1}

    async def _check_counts(self, producer: TransactionalProducer, rows: Rows) -> None:
        """Compare what the broker says of each output topic with what keys were placed by."""
        topics = {topic for topic, _ in rows}
        for topic, count in (await producer.partition_counts(topics)).items():
            declared = self._partition_of[topic].partitions
            if count != declared:
                raise TopicMismatchError(
                    f"{topic} has {count} partitions and had {declared} when this worker started:"
                    " keys would part from their history. Put the count right and start again"
                )

    async def discard(self) -> None:
        """Throw the producer away."""
        if (producer := self._producer) is not None:
            self._producer = None
            await producer.discard()


def _never_committed(error: BaseException) -> bool:
    """Whether this failure leaves no doubt; of a cancellation nobody knows how far it came."""
    if isinstance(error, TransactionFailedError):
        return error.outcome == "aborted"
    return isinstance(error, LaterError | KafkaError | TopicMismatchError)
