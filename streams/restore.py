"""Restore: a lane's state, read back from its changelog partition before the first batch."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from batuta.agents.state import State
from batuta.streams.settings import Settings, client_options

__all__ = ["restore"]

_POLL_MS = 200


async def restore(
    settings: Settings,
    changelog: TopicPartition,
    state: State,
    remaining: Callable[[int], None],
) -> int:
    """Apply every committed record of `changelog` to `state`, in order.

    The lane's producer has taken its transactional id before, so nothing is in flight: the end
    read here is the end.

    Args:
        settings: where the broker is.
        changelog: the lane's partition of the stage's changelog.
        state: a fresh state.
        remaining: told how many offsets are left, after each poll.

    Returns:
        How many records were applied.

    Raises:
        StateCorruptError: a record is of an unknown version or shape.
        aiokafka.errors.KafkaError: the broker failed.
    """
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=16 << 20,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        consumer.assign([changelog])
        end = (await consumer.end_offsets([changelog]))[changelog]
        start = (await consumer.beginning_offsets([changelog]))[changelog]
        consumer.seek(changelog, start)
        return await _apply(consumer, changelog, end, state, remaining)
    finally:
        await consumer.stop()
        remaining(0)


async def _apply(
    consumer: AIOKafkaConsumer,
    changelog: TopicPartition,
    end: int,
    state: State,
    remaining: Callable[[int], None],
) -> int:
    applied = 0
    while (position := await consumer.position(changelog)) < end:
        remaining(end - position)
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                state.load(record.key or b"", record.value)
            applied += len(records)
        await asyncio.sleep(0)
    return applied
