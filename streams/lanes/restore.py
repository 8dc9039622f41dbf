"""Restore: a lane's state, read back from its changelog partition before the first batch."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka import TopicPartition

from batuta.agents.state.port import Restorable
from batuta.schemas.record import Record
from batuta.streams.lanes.log import Log

__all__ = ["restore"]

_RECORDS_MAX: Final = 5_000
#: How long to apply records in one go: no heartbeat is sent meanwhile.
_SLICE_S: Final = 0.01


async def restore(
    log: Log,
    changelog: TopicPartition,
    state: Restorable,
    remaining: Callable[[int], None],
) -> int:
    """Apply every committed record of `changelog` to `state`, in order.

    The lane's producer has taken its transactional id before, so nothing is in flight: the end
    read here is the end.

    Args:
        log: where the changelog is.
        changelog: the lane's partition of the stage's changelog.
        state: a fresh state.
        remaining: told how many offsets are left, after each poll.

    Returns:
        How many records were applied.

    Raises:
        StateCorruptError: a record is of an unknown version or shape.
        LaterError: the changelog stopped giving records before its end.
        aiokafka.errors.KafkaError: the broker failed, or records were deleted while being read.
    """
    reader = log.reader(changelog)
    try:
        await reader.start()
        applied = 0
        while reader.position < reader.end:
            remaining(reader.end - reader.position)
            records = await reader.read(_RECORDS_MAX)
            await _apply(records, state)
            applied += len(records)
        return applied
    finally:
        await reader.stop()
        remaining(0)


async def _apply(records: Sequence[Record], state: Restorable) -> None:
    loop = asyncio.get_running_loop()
    pause_at = loop.time() + _SLICE_S
    for record in records:
        state.load(record.key or b"", record.value)
        if loop.time() > pause_at:
            await asyncio.sleep(0)
            pause_at = loop.time() + _SLICE_S
