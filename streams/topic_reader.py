"""Reads whole topics, committed records only, without a consumer group.

For people and proofs, not for lanes: `tail`, `explain`, the demo's count of what was lost or
doubled. It starts at the beginning, at the end or at a time, and stops where the topics ended when
it was asked, so that reading a busy topic comes to an end. Nothing it does is seen by a worker.

    async with TopicReader(options, ["fraud.decisions"]) as reader:
        async for records in reader.until_end():
            ...
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from batuta.schemas.errors import BrokerUnreachableError, TopicMismatchError
from batuta.schemas.record import Record
from batuta.schemas.watermark import is_watermark

__all__ = ["TopicReader"]

_POLL_MS: Final = 200
_RECORDS_MAX: Final = 5_000
_ASSIGNED_WITHIN_S: Final = 10.0

_Ends = dict[TopicPartition, int]


class TopicReader:
    """A read_committed reader over all partitions of some topics.

    Args:
        options: connection options of an aiokafka client, `bootstrap_servers` among them.
        topics: what to read; each must exist.
    """

    def __init__(self, options: Mapping[str, Any], topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._bootstrap = str(options["bootstrap_servers"])
        self._consumer = AIOKafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_POLL_MS,
        )

    async def __aenter__(self) -> Self:
        """Connect and stand at the beginning of every partition.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: a topic does not exist.
        """
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaError as error:
            await self._consumer.stop()
            raise BrokerUnreachableError(f"no broker answers at {self._bootstrap}") from error
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def from_time(self, time_ms: int) -> None:
        """Stand at the first record of each partition that is not older than `time_ms`."""
        wanted = dict.fromkeys(self._partitions, time_ms)
        found = await self._consumer.offsets_for_times(wanted)
        ends = await self._ends()
        for partition in self._partitions:
            at = found.get(partition)
            self._consumer.seek(partition, ends[partition] if at is None else at.offset)

    async def from_end(self, records_before: int = 0) -> None:
        """Stand at the end of each partition, or `records_before` offsets before it."""
        ends = await self._ends()
        begins = await self._begins()
        for partition, end in ends.items():
            self._consumer.seek(partition, max(begins[partition], end - records_before))

    async def beginnings(self) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        return await self._begins()

    async def remaining(self) -> int:
        """Return how many offsets lie between here and the present end of the topics."""
        return await self._until(await self._ends())

    async def until_end(self) -> AsyncIterator[list[Record]]:
        """Yield what lies between here and where the topics end now, then stop."""
        ends = await self._ends()
        while await self._until(ends):
            records = await self.poll()
            if records:
                yield [r for r in records if r.offset < ends[TopicPartition(r.topic, r.partition)]]

    async def follow(self, stop: asyncio.Event) -> AsyncIterator[list[Record]]:
        """Yield what arrives until `stop` is set; at most a poll's time late."""
        while not stop.is_set():
            records = await self.poll()
            if records:
                yield records

    async def poll(self) -> list[Record]:
        """Return what has arrived, waiting a moment where nothing has; watermarks are left out."""
        found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_MAX)
        records = [_record(one) for ones in found.values() for one in ones]
        return [record for record in records if not is_watermark(record)]

    async def _assign(self) -> None:
        known = await self._consumer.topics()
        missing = sorted(set(self._topics) - known)
        if missing:
            names = ", ".join(missing)
            raise TopicMismatchError(f"no topic {names} on the broker at {self._bootstrap}")
        self._consumer.subscribe(self._topics)
        async with asyncio.timeout(_ASSIGNED_WITHIN_S):
            while not self._consumer.assignment():
                await self._consumer.getmany(timeout_ms=1)
        begins = await self._begins()
        for partition, offset in begins.items():
            self._consumer.seek(partition, offset)

    @property
    def _partitions(self) -> list[TopicPartition]:
        return sorted(self._consumer.assignment())

    async def _begins(self) -> _Ends:
        return cast("_Ends", await self._consumer.beginning_offsets(self._partitions))

    async def _ends(self) -> _Ends:
        """Return the last stable offsets: what a read_committed reader can reach now."""
        return cast("_Ends", await self._consumer.end_offsets(self._partitions))

    async def _until(self, ends: _Ends) -> int:
        missing = 0
        for partition, end in ends.items():
            missing += max(0, end - await self._consumer.position(partition))
        return missing


def _record(one: "ConsumerRecord[bytes | None, bytes | None]") -> Record:
    return Record(
        one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers)
    )
