"""Restore: a lane's state, read back from its changelog partition before the first batch."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from batuta.agents.state.port import State
from batuta.schemas.errors import LaterError
from batuta.streams.settings import Settings, client_options

__all__ = ["restore"]

_POLL_MS: Final = 200
_RECORDS_MAX: Final = 5_000
#: How long to apply records in one go: no heartbeat is sent meanwhile.
_SLICE_S: Final = 0.01
_FETCH_BYTES_MAX: Final = 16 << 20


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
        LaterError: the changelog stopped giving records before its end.
        aiokafka.errors.KafkaError: the broker failed, or records were deleted while being read.
    """
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        # Anything else would go on at the end, with a part of the state missing.
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES_MAX,
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
        consumer.assign([changelog])
        end = (await consumer.end_offsets([changelog]))[changelog]
        start = (await consumer.beginning_offsets([changelog]))[changelog]
        consumer.seek(changelog, start)
        return await _Reader(consumer, changelog, end, settings).apply(state, remaining)
    finally:
        await consumer.stop()
        remaining(0)


class _Reader:
    """Reads one changelog partition up to an end known before."""

    def __init__(
        self, consumer: AIOKafkaConsumer, changelog: TopicPartition, end: int, settings: Settings
    ) -> None:
        self._consumer = consumer
        self._changelog = changelog
        self._end = end
        self._patience_s = settings.request_timeout_ms / 1000

    async def apply(self, state: State, remaining: Callable[[int], None]) -> int:
        """Apply records until the position, markers included, has come to the end."""
        applied, before, moved_at = 0, -1, time.monotonic()
        while (position := await self._consumer.position(self._changelog)) < self._end:
            if position > before:
                before, moved_at = position, time.monotonic()
            elif time.monotonic() - moved_at > self._patience_s:
                raise LaterError(f"{self._changelog} gives no record from {position} on")
            remaining(self._end - position)
            applied += await self._poll(state)
        return applied

    async def _poll(self, state: State) -> int:
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_MAX)
        records = fetched.get(self._changelog, [])
        pause_at = time.monotonic() + _SLICE_S
        for record in records:
            state.load(record.key or b"", record.value)
            if time.monotonic() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + _SLICE_S
        return len(records)
