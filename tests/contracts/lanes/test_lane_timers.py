"""Timers: set by an agent, fired once in a later batch, whoever owns the lane by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.agents.state.timers import Timer
from batuta.schemas.record import Output
from batuta.streams.app import clock_ms

if TYPE_CHECKING:
    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item


def _calls_later(worker: CountingWorker, delay_ms: int) -> None:
    """Let each event set a timer, and each firing put its payload out under its key."""

    async def remember(batch: Batch[Item, Counts]) -> None:
        for item in batch.items:
            due_ms = batch.context.now_ms + delay_ms
            key = (item.record.key or b"").decode()
            payload = b'{"id":%d,"count":0}' % (1_000 + item.event_id)
            batch.context.timers.set(Timer("later", key, due_ms, "processing", payload))
        for firing in batch.firings:
            assert firing.due_ms <= batch.context.now_ms
            batch.forward(Output(worker.layout.outputs, firing.key.encode(), firing.payload))
        fired = len(batch.firings)
        batch.after_commit(lambda: worker.note(fired))

    worker.think = remember


async def test_a_timer_fires_once_where_no_record_comes(bench: Bench) -> None:
    worker = bench.worker()
    _calls_later(worker, 50)
    await bench.send([(0, b"a", b'{"id":1}'), (1, b"b", b'{"id":2}')])
    async with worker.running():
        await bench.until_output(4)
    async with bench.worker().running():
        pass
    ids = sorted(record.event["id"] for record in await bench.outputs())
    assert ids == [1, 2, 1_001, 1_002]


async def test_the_next_owner_fires_what_the_last_one_set(bench: Bench) -> None:
    first = bench.worker()
    _calls_later(first, 3_000)
    await bench.send([(n % 2, b"k%d" % n, b'{"id":%d}' % n) for n in range(20)])
    async with first.running():
        await bench.until_output(20)
    stopped_ms = clock_ms()
    second = bench.worker()
    _calls_later(second, 3_000)
    async with second.running():
        await bench.eventually(lambda: second.committed >= 20)
    fired = [r for r in await bench.outputs() if r.event["id"] >= 1_000]
    assert sorted(r.event["id"] for r in fired) == list(range(1_000, 1_020))
    assert clock_ms() > stopped_ms


async def test_a_later_timer_of_its_key_takes_the_place_of_the_first(bench: Bench) -> None:
    worker = bench.worker(batch_records_max=1)
    _calls_later(worker, 1_000)
    await bench.send([(0, b"a", b'{"id":%d}' % n) for n in range(5)])
    async with worker.running():
        await bench.until_output(6)
    fired = [r.event["id"] for r in await bench.outputs() if r.event["id"] >= 1_000]
    assert fired == [1_004]
