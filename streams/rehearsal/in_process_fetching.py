"""Fetching over a wire: where each partition is read, and what was fetched of it."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    for_code,
)

from batuta.schemas.record import Record
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from batuta.streams.lanes.log import Offsets
from batuta.streams.rehearsal.in_process_records import committed_records
from batuta.streams.rehearsal.wire import Link
from batuta.streams.settings import Settings

__all__ = ["BACKOFF_S", "EARLIEST", "LATEST", "Fetcher", "list_offsets", "persist"]

R = TypeVar("R")

LATEST: Final = -1
EARLIEST: Final = -2
BACKOFF_S: Final = 0.1
_READ_COMMITTED: Final = 1


class _Flow:
    """One assigned partition.

    Attributes:
        position: the next offset to give out; None until somebody seeks.
        fetched: records that nobody has taken yet.
        ahead: the next offset to fetch, behind what was fetched.
        moves: counts seeks and pauses; what was asked for before the last one is not taken in.
    """

    __slots__ = ("ahead", "error", "fetched", "highwater", "moves", "paused", "position")

    def __init__(self) -> None:
        self.position: int | None = None
        self.fetched: deque[Record] = deque()
        self.ahead = 0
        self.highwater: int | None = None
        self.paused = True
        self.moves = 0
        self.error: KafkaError | None = None

    def move(self, position: int | None) -> None:
        """Go on from `position`; what was fetched from elsewhere counts no more."""
        self.moves += 1
        self.fetched.clear()
        self.error = None
        self.position = position
        if position is not None:
            self.ahead = position

    @property
    def hungry(self) -> bool:
        """Whether there is something to fetch."""
        return not self.paused and self.position is not None and not self.fetched

    def take(self, records_max: int) -> list[Record]:
        """Give out records."""
        fetched = self.fetched
        if len(fetched) <= records_max:
            taken = list(fetched)
            fetched.clear()
            self.position = self.ahead
        else:
            taken = [fetched.popleft() for _ in range(records_max)]
            self.position = fetched[0].offset
        return taken


class Fetcher:
    """Reads partitions; each call fetches its own, so nobody waits for another's."""

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        self._settings = settings
        self._flows: dict[TopicPartition, _Flow] = {}

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """What may be read."""
        return frozenset(self._flows)

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        """Read these and no others: paused, without a position."""
        self._flows = {tp: _Flow() for tp in tps}

    def pause(self, tp: TopicPartition) -> None:
        """Fetch nothing of it; what was fetched is fetched again."""
        flow = self._flow(tp)
        flow.paused = True
        flow.move(flow.position)

    def resume(self, tp: TopicPartition) -> None:
        """Fetch it again."""
        self._flow(tp).paused = False

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read it from `offset` on."""
        self._flow(tp).move(offset)

    def position(self, tp: TopicPartition) -> int:
        """Return the next offset to give out.

        Raises:
            IllegalStateError: it is not assigned, or nobody has said where to begin.
        """
        position = self._flow(tp).position
        if position is None:
            raise IllegalStateError(f"{tp} has no position")
        return position

    def highwater(self, tp: TopicPartition) -> int | None:
        """Return the end of the log as the last fetch saw it."""
        flow = self._flows.get(tp)
        return None if flow is None else flow.highwater

    async def fetch(
        self, tps: Sequence[TopicPartition], records_max: int, timeout_s: float
    ) -> dict[TopicPartition, list[Record]]:
        """Return records of `tps`; see `Member.fetch`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            taken = self._take(tps, records_max)
            left_s = deadline_s - loop.time()
            if taken or left_s <= 0:
                return taken
            hungry = {tp: flow for tp in tps if (flow := self._flows.get(tp)) and flow.hungry}
            if not hungry:
                await asyncio.sleep(left_s)
                continue
            try:
                await self._fetch(hungry, left_s)
            except KafkaError:
                await asyncio.sleep(min(BACKOFF_S, left_s))

    def _take(
        self, tps: Sequence[TopicPartition], records_max: int
    ) -> dict[TopicPartition, list[Record]]:
        taken: dict[TopicPartition, list[Record]] = {}
        for tp in tps:
            flow = self._flows.get(tp)
            if flow is None or flow.paused:
                continue
            if flow.error is not None and not taken:
                error, flow.error = flow.error, None
                raise error
            if flow.fetched and records_max:
                taken[tp] = flow.take(records_max)
                records_max -= len(taken[tp])
        return taken

    async def _fetch(self, flows: Mapping[TopicPartition, _Flow], wait_s: float) -> None:
        """Ask once for some partitions and take in what came of it."""
        moves = {tp: flow.moves for tp, flow in flows.items()}
        answer = await self._link.ask(self._request(flows, wait_s), FetchResponse)
        for topic in answer.topics:
            for found in topic.partitions:
                tp = TopicPartition(topic.name, found.partition)
                flow = flows[tp]
                if self._flows.get(tp) is flow and flow.moves == moves[tp]:
                    _take_in(tp, flow, found)
        if all(found.error_code for topic in answer.topics for found in topic.partitions):
            await asyncio.sleep(min(BACKOFF_S, wait_s))

    def _request(self, flows: Mapping[TopicPartition, _Flow], wait_s: float) -> FetchRequest:
        settings = self._settings
        by_topic: dict[str, list[FetchPartition]] = {}
        for (topic, partition), flow in flows.items():
            entry = FetchPartition(
                partition,
                fetch_offset=flow.ahead,
                max_bytes=settings.fetch_partition_bytes_max,
            )
            by_topic.setdefault(topic, []).append(entry)
        return FetchRequest(
            max_wait_ms=min(settings.fetch_wait_ms_max, int(wait_s * 1000)),
            min_bytes=1,
            max_bytes=settings.fetch_bytes_max,
            isolation_level=_READ_COMMITTED,
            topics=tuple(
                FetchTopic(topic, partitions=tuple(part)) for topic, part in by_topic.items()
            ),
        )

    def _flow(self, tp: TopicPartition) -> _Flow:
        flow = self._flows.get(tp)
        if flow is None:
            raise IllegalStateError(f"{tp} is not assigned")
        return flow


def _take_in(tp: TopicPartition, flow: _Flow, found: FetchPartitionResult) -> None:
    """Keep what was fetched of one partition."""
    error = for_code(found.error_code)
    if error is OffsetOutOfRangeError:
        flow.error = OffsetOutOfRangeError({tp: flow.ahead})
        return
    if found.error_code:
        return  # whatever it is, the next fetch tells whether it is over
    flow.highwater = found.high_watermark
    records, flow.ahead = committed_records(tp, found, flow.ahead)
    if records:
        flow.fetched.extend(records)
    else:
        flow.position = flow.ahead


async def persist(
    link: Link, request: object, answer: type[R], is_settled: Callable[[R], bool], patience_s: float
) -> R:
    """Ask until there is an answer that settles the matter.

    Raises:
        KafkaTimeoutError: there was none for as long as any request may take.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    while True:
        try:
            found = await link.ask(request, answer)
        except KafkaError:
            pass
        else:
            if is_settled(found):
                return found
        if loop.time() > deadline_s:
            raise KafkaTimeoutError(f"no answer to {type(request).__name__} in time")
        await asyncio.sleep(BACKOFF_S)


async def list_offsets(
    link: Link, tps: Sequence[TopicPartition], which: int, patience_s: float
) -> Offsets:
    """Return where partitions begin, or where they end for a read_committed reader.

    Raises:
        KafkaTimeoutError: there was no answer for as long as any request may take.
    """
    by_topic: dict[str, list[ListOffsetsPartition]] = {}
    for topic, partition in tps:
        by_topic.setdefault(topic, []).append(ListOffsetsPartition(partition, -1, which))
    topics = tuple(ListOffsetsTopic(topic, tuple(part)) for topic, part in by_topic.items())
    request = ListOffsetsRequest(-1, _READ_COMMITTED, topics)

    def is_settled(answer: ListOffsetsResponse) -> bool:
        return not any(p.error_code for topic in answer.topics for p in topic.partitions)

    answer = await persist(link, request, ListOffsetsResponse, is_settled, patience_s)
    return {
        TopicPartition(topic.name, found.partition): found.offset
        for topic in answer.topics
        for found in topic.partitions
    }
