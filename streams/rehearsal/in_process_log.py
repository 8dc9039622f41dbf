"""The log port over the embedded broker's logic, called in process: no socket, no aiokafka client.

The broker's groups, transactions and logs are the real ones; the clients that speak to them here
do what aiokafka's do, request by request, each through the wire (see `wire`), on the running
loop's time. Held to `tests/contracts/log` beside aiokafka.
"""

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import TopicPartition

from batuta.schemas.errors import LaterError
from batuta.schemas.record import Record
from batuta.streams.broker.config_admin import TOPIC_RESOURCE
from batuta.streams.broker.messages_cluster import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.batch_limits import BatchLimits
from batuta.streams.rehearsal.in_process_fetching import EARLIEST, LATEST, Fetcher, list_offsets
from batuta.streams.rehearsal.in_process_member import InProcessMember
from batuta.streams.rehearsal.in_process_producer import InProcessProducer
from batuta.streams.rehearsal.wire import Link, Wire
from batuta.streams.settings import Settings
from batuta.streams.topic_limits import LIMITS

__all__ = ["InProcessLog", "InProcessReader"]

_READ_WAIT_S = 0.2


class InProcessLog:
    """What one worker speaks to a broker by.

    Args:
        wire: carries every request.
        settings: the worker's.
        client: the worker's name, which the wire is told with each request.
        clock: milliseconds since 1970 UTC, as records carry them.
    """

    def __init__(
        self, wire: Wire, settings: Settings, client: str, clock: Callable[[], int]
    ) -> None:
        self._wire = wire
        self._settings = settings
        self._client = client
        self._clock = clock
        self._limits = BatchLimits()

    def member(
        self, group: str, assignor: LaneAssignor, instance_id: str | None = None
    ) -> InProcessMember:
        """Return a member of `group`, not yet started; see `Log.member`."""
        return InProcessMember(self._link(group), group, assignor, self._settings, instance_id)

    def producer(self, transactional_id: str) -> InProcessProducer:
        """Return a producer, not yet started."""
        link = self._link(transactional_id)
        return InProcessProducer(link, transactional_id, self._settings, self._clock, self._limits)

    def reader(self, tp: TopicPartition) -> "InProcessReader":
        """Return a reader of one partition, not yet started."""
        return InProcessReader(self._link(f"{tp.topic}-{tp.partition}"), tp, self._settings)

    async def batch_bytes_max(self, topic: str) -> int | None:
        """Return how large a batch a topic takes; see `Log.batch_bytes_max`."""
        asked = DescribeConfigsRequest((DescribeConfigsResource(TOPIC_RESOURCE, topic, LIMITS),))
        found = await self._link("admin").ask(asked, DescribeConfigsResponse)
        values = [entry.value for result in found.results for entry in result.configs]
        return min((int(value) for value in values if value is not None), default=None)

    def _link(self, name: str) -> Link:
        return Link(self._wire, f"{self._client}/{name}")


class InProcessReader:
    """Reads one partition to the end that it had at the start."""

    def __init__(self, link: Link, tp: TopicPartition, settings: Settings) -> None:
        self._link = link
        self._tp = tp
        self._fetcher = Fetcher(link, settings)
        self._patience_s = settings.request_timeout_ms / 1000
        self._moved_at_s = 0.0
        self._beginning = self._end = 0

    async def start(self) -> None:
        """Learn where the partition begins and ends."""
        tps = (self._tp,)
        self._end = (await list_offsets(self._link, tps, LATEST, self._patience_s))[self._tp]
        beginnings = await list_offsets(self._link, tps, EARLIEST, self._patience_s)
        self._beginning = beginnings[self._tp]
        self._fetcher.assign(tps)
        self._fetcher.resume(self._tp)
        self.seek(self._beginning)

    @property
    def beginning(self) -> int:
        """The first offset that the partition had at the start."""
        return self._beginning

    @property
    def end(self) -> int:
        """The offset behind the last committed one at the start."""
        return self._end

    @property
    def position(self) -> int:
        """The next offset to read."""
        return self._fetcher.position(self._tp)

    def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self._fetcher.seek(self._tp, offset)
        self._moved_at_s = asyncio.get_running_loop().time()

    async def read(self, records_max: int) -> Sequence[Record]:
        """Return some records in order; an empty list where a moment brought nothing.

        Raises:
            LaterError: the partition gave nothing for as long as any request may take.
        """
        before = self.position
        fetched = await self._fetcher.fetch((self._tp,), records_max, _READ_WAIT_S)
        now_s = asyncio.get_running_loop().time()
        if self.position > before:
            self._moved_at_s = now_s
        elif now_s - self._moved_at_s > self._patience_s:
            raise LaterError(f"{self._tp} gives no record from {before} on")
        return fetched.get(self._tp, [])

    async def stop(self) -> None:
        """Read no more."""
