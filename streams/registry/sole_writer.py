"""Who writes control records: one at a time, and never on top of what it has not seen.

Whoever writes takes the transactional id that all who write the same share, and reads then. A
second who comes meanwhile fences the first, so that of two who write at once one is refused.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError

from batuta.schemas.errors import BrokerUnreachableError, RegistryMovedError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output
from batuta.streams.lanes.batch import group_rows
from batuta.streams.lanes.kafka_shim import hear_failed_batches
from batuta.streams.lanes.producer import LaneProducer, TransactionFailedError
from batuta.streams.settings import Settings
from batuta.streams.topic_admin import declare_shared

__all__ = ["sole_writer", "write_alone"]


@asynccontextmanager
async def sole_writer(settings: Settings, transactional_id: str) -> AsyncGenerator[LaneProducer]:
    """Fence everybody who has not written yet, and let what they began come to its end.

    Raises:
        BrokerUnreachableError: no broker answers.
    """
    hear_failed_batches()
    await declare_shared(settings)
    producer = LaneProducer(settings, transactional_id)
    try:
        await producer.start()
    except KafkaError as error:
        raise BrokerUnreachableError(f"no broker answers at {settings.brokers}") from error
    try:
        yield producer
    finally:
        await producer.discard()


async def write_alone(producer: LaneProducer, outputs: Sequence[Output], again: str) -> None:
    """Write records together, or none of them.

    Args:
        producer: of `sole_writer`.
        outputs: to topics that exist.
        again: what whoever was fenced is to do, in words.

    Raises:
        RegistryMovedError: somebody else writes at the same time.
        TransactionFailedError: anything else.
    """
    counts = await producer.partition_counts({output.topic for output in outputs})
    rows = group_rows(outputs, {topic: PartitionOf(count) for topic, count in counts.items()})
    try:
        await producer.transact(rows, {}, "")
    except TransactionFailedError as error:
        if not error.fenced:
            raise
        what = "somebody else writes to the same records at the same time"
        raise RegistryMovedError(f"{what} ({error}); {again}") from error
