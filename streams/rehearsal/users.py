"""The users' systems: they send source records, patiently, and remember what was acknowledged."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from batuta.schemas.record import Output
from batuta.streams.broker.messages_records import (
    ProducePartition,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.raw_client import build_batch
from batuta.streams.rehearsal.broker_house import BrokerHouse

__all__ = ["Users"]

_AGAIN_S: Final = 0.25
_ACKS_ALL: Final = -1
Place = tuple[str, int]


class Users:
    """Sends records at a steady pace.

    Attributes:
        acknowledged: key and value at each place and offset that the broker has confirmed.
    """

    def __init__(self, house: BrokerHouse, rows: Sequence[tuple[float, Sequence[Output]]]) -> None:
        """Take up what is to be sent: records, and in which share of the time."""
        self._house = house
        self._rows = rows
        self.acknowledged: dict[tuple[str, int, int], tuple[bytes | None, bytes | None]] = {}

    async def send_all(self, within_s: float, tick_s: float) -> None:
        """Send everything, a little each tick."""
        ticks = max(1, int(within_s / tick_s))
        for tick in range(ticks):
            for share, row in self._rows:
                busy = max(1, int(ticks * share))
                first, last = (min(len(row), len(row) * n // busy) for n in (tick, tick + 1))
                await self._send(row[first:last])
            await asyncio.sleep(tick_s)

    async def _send(self, records: Sequence[Output]) -> None:
        by_place: defaultdict[Place, list[Output]] = defaultdict(list)
        for record in records:
            assert record.partition is not None
            by_place[record.topic, record.partition].append(record)
        for place in sorted(by_place):
            await self._send_to(place, by_place[place])

    async def _send_to(self, place: Place, records: Sequence[Output]) -> None:
        """Send until it is acknowledged; what was lost on the way may be there twice."""
        topic, partition = place
        data = build_batch(
            [record.value for record in records],
            keys=[record.key for record in records],
            first_timestamp_ms=self._house.wall_ms(),
        )
        entry = ProduceTopic(topic, (ProducePartition(partition, data),))
        request = ProduceRequest(None, _ACKS_ALL, 1000, (entry,))
        offset = await self._try(request)
        while offset is None:
            await asyncio.sleep(_AGAIN_S)
            offset = await self._try(request)
        for number, record in enumerate(records):
            self.acknowledged[topic, partition, offset + number] = (record.key, record.value)

    async def _try(self, request: ProduceRequest) -> int | None:
        back: asyncio.Future[object | None] = asyncio.get_running_loop().create_future()
        self._house.deliver("users", request, back.set_result)
        answer = await back
        if not isinstance(answer, ProduceResponse):
            return None
        found = answer.topics[0].partitions[0]
        return None if found.error_code else found.base_offset
