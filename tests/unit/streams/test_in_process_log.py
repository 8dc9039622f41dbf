"""The in-process log asks the same requests in the same order each time: a seed repeats itself."""

from __future__ import annotations

import asyncio
import uuid
from random import Random

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from batuta.streams.broker.broker import Broker
from batuta.streams.broker.clock import LoopClock
from batuta.streams.broker.messages_cluster import CreateTopicsRequest, NewTopic
from batuta.streams.lanes.lane_testing import lane_settings
from batuta.streams.lanes.log_testing import Seat
from batuta.streams.rehearsal.in_process_log import InProcessLog
from batuta.streams.rehearsal.virtual_loop import VirtualLoop
from batuta.streams.rehearsal.wire import BrokerWire, deliver

NOW_MS = 1_700_000_000_000


class _StillClock(LoopClock):
    def wall_ms(self) -> int:
        return NOW_MS


class _NotedWire:
    """Notes every request and when it was asked; loses some, as chance has it."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        ids = Random(0)
        self.broker = Broker(
            _StillClock(), new_id=lambda: uuid.UUID(int=ids.getrandbits(128), version=4)
        )
        self._next = BrokerWire(self.broker)
        self.asked: list[tuple[float, str, object]] = []

    async def call(self, client: str, request: object) -> object:
        self.asked.append((asyncio.get_running_loop().time(), client, request))
        if self._chance.random() < 0.05:
            raise KafkaConnectionError("lost on the way there")
        answer = await self._next.call(client, request)
        if self._chance.random() < 0.05:
            raise KafkaConnectionError("lost on the way back")
        return answer


async def _work(wire: _NotedWire) -> list[bytes | None]:
    """Two members share a topic and copy it; one leaves half way."""
    for name in ("in", "out"):
        topic = NewTopic(name, 2, 1, (), ())
        deliver(wire.broker, "test", CreateTopicsRequest((topic,), 5_000, False))
    settings = lane_settings("127.0.0.1:1")
    logs = [InProcessLog(wire, settings, f"worker-{n}", lambda: NOW_MS) for n in range(2)]
    seats = [Seat(log, "group") for log in logs]
    for seat in seats:
        await seat.member.start(["in"], seat)
    producer = logs[0].producer("writer")
    await producer.start()
    for n in range(20):
        rows = {("in", n % 2): [(b"k", b"%d" % n, ())]}
        await producer.transact(rows, {TopicPartition("in", 0): n}, "group")
    await seats[1].member.stop()
    reader = logs[1].reader(TopicPartition("in", 1))
    await reader.start()
    found: list[bytes | None] = []
    while reader.position < reader.end:
        found += [record.value for record in await reader.read(3)]
    await seats[0].member.stop()
    return found


def _run(seed: int) -> list[tuple[float, str, object]]:
    loop = VirtualLoop(calls_max=100_000)
    wire: list[_NotedWire] = []

    async def play() -> None:
        wire.append(_NotedWire(Random(seed)))
        assert await _work(wire[0]) == [b"%d" % n for n in range(1, 20, 2)]

    loop.run_until_complete(play())
    loop.close()
    return wire[0].asked


def test_the_same_chance_gives_the_same_requests() -> None:
    for seed in range(5):
        first, second = _run(seed), _run(seed)
        assert len(first) > 100
        assert first == second


def test_another_chance_gives_other_requests() -> None:
    assert _run(1) != _run(2)
