"""What tests of any log need: a member that remembers what it was given, and short readings.

A commit is answered before its markers are written, and until then no reader sees it: whoever
expects records or offsets here waits for them, as a reader would.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.assignor import LaneAssignor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batuta.schemas.record import Record
    from batuta.streams.lanes.log import Destination, Log, Member, PartitionReader, Row

__all__ = ["Seat", "eventually", "read_all", "read_to_end", "reader_up_to", "write"]

_DEADLINE_S: Final = 60.0
_AGAIN_S: Final = 0.01


class Seat:
    """One member of a group, and what the group gave it.

    Attributes:
        given: what it has now; None while it has let go.
        rounds: how many assignments there were.
    """

    def __init__(self, log: Log, group: str, instance_id: str | None = None) -> None:
        self.given: Sequence[TopicPartition] | None = None
        self.rounds = 0
        self.member: Member = log.member(group, LaneAssignor(), instance_id)

    async def on_revoked(self) -> None:
        """Let go."""
        self.given = None

    async def on_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Note what was given."""
        self.given = assigned
        self.rounds += 1

    @property
    def lanes(self) -> list[int]:
        """The partition numbers it has."""
        return sorted({tp.partition for tp in self.given or ()})

    async def read_from(self, tp: TopicPartition, offset: int) -> None:
        """Let a partition flow."""
        self.member.seek(tp, offset)
        self.member.resume(tp)

    async def read(self, tp: TopicPartition, count: int) -> list[Record]:
        """Fetch `count` records.

        Raises:
            TimeoutError: there are not so many.
        """
        found: list[Record] = []
        async with asyncio.timeout(_DEADLINE_S):
            while len(found) < count:
                fetched = await self.member.fetch([tp], count - len(found), 50)
                assert all(fetched.values()), "an empty list was given"
                found += fetched.get(tp, [])
        return found

    async def until_committed(self, tp: TopicPartition, offset: int) -> None:
        """Wait until the group's committed offset is `offset`.

        Raises:
            TimeoutError: it is another one.
        """
        async with asyncio.timeout(_DEADLINE_S):
            while await self.member.committed(tp) != offset:  # noqa: ASYNC110  a broker tells nobody
                await asyncio.sleep(_AGAIN_S)


async def eventually(condition: Callable[[], object]) -> None:
    """Return once `condition` holds.

    Raises:
        TimeoutError: it did not within the deadline.
    """
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110  nobody there sets an event
            await asyncio.sleep(_AGAIN_S)


async def write(
    log: Log,
    rows: Mapping[Destination, Sequence[Row]],
    offsets: Mapping[TopicPartition, int] | None = None,
    group: str = "nobody",
) -> dict[Destination, int]:
    """Write rows in one transaction of a producer of its own, and wait until they can be read."""
    producer = log.producer(TopicFactory.unique("writer"))
    await producer.start()
    try:
        ends = await producer.transact(rows, offsets or {}, group)
    finally:
        await producer.discard()
    for (topic, partition), end in ends.items():
        reader = await reader_up_to(log, TopicPartition(topic, partition), end + 1)
        await reader.stop()
    return ends


async def reader_up_to(log: Log, tp: TopicPartition, end: int) -> PartitionReader:
    """Return a started reader of a partition that ends at `end` or behind.

    Raises:
        TimeoutError: the partition never does.
    """
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            reader = log.reader(tp)
            await reader.start()
            if reader.end >= end:
                return reader
            await reader.stop()
            await asyncio.sleep(_AGAIN_S)


async def read_all(log: Log, tp: TopicPartition, count: int = 0) -> list[Record]:
    """Everything that a reader is given up to the end, once that is `count` records or more.

    Raises:
        TimeoutError: there are not so many.
    """
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            reader = log.reader(tp)
            await reader.start()
            try:
                found = await read_to_end(reader)
            finally:
                await reader.stop()
            if len(found) >= count:
                return found
            await asyncio.sleep(_AGAIN_S)


async def read_to_end(reader: PartitionReader) -> list[Record]:
    """What a started reader gives."""
    found: list[Record] = []
    while reader.position < reader.end:
        found += await reader.read(1_000)
    return found
