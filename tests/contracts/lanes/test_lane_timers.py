"""Timers: set by an agent, fired once in a later batch, whoever owns the lane by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.state.timers import Timer
from batuta.schemas.record import Output
from batuta.streams.app import clock_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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


async def test_what_a_timer_writes_too_large_is_buried_and_the_lane_goes_on(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(output_bytes_max=20_000)
    worker, large = bench.worker(), b'{"id":1007,"fill":"' + b"x" * 70_000 + b'"}'
    smaller = b'{"id":1011,"fill":"' + b"x" * 20_000 + b'"}'

    async def remember(batch: Batch[Item, Counts]) -> None:
        for item in batch.items:
            due_ms = batch.context.now_ms + 100
            batch.context.timers.set(Timer("later", str(item.event_id), due_ms, "processing", b""))
        for firing in batch.firings:
            event_id = int(firing.key)
            small = b'{"id":%d,"count":0}' % (1_000 + event_id)
            value = {7: large, 11: smaller}.get(event_id, small)
            batch.forward(Output(worker.layout.outputs, b"fired", value, (("why", b"timer"),)))
        fired = len(batch.firings)
        batch.after_commit(lambda: worker.note(fired))

    worker.think = remember
    await bench.send([(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % n) for n in range(20)])
    async with worker.running():
        await bench.until_output(40)
        assert worker.metric("batuta_deadletters_total", reason="output_too_large") == 2
        assert worker.metric("batuta_events_finished_total", outcome="dead_letter") == 0
        await bench.send([(1, b"k1", b'{"id":21}')])
        await bench.until_output(42)
    ids = sorted(record.event["id"] for record in await bench.outputs())
    assert ids == [*range(20), 21, *(1_000 + n for n in range(22) if n not in {7, 11, 20})]
    first, second = sorted(await bench.deadletters(), key=lambda letter: letter.value or b"")
    assert (first.value, second.value) == (large[:65_536], smaller)
    assert first.headers["why"] == b"timer"
    assert first.headers["batuta-deadletter-reason"] == b"output_too_large"
    assert first.headers["batuta-deadletter-topic"] == bench.layout.outputs.encode()
    assert first.headers["batuta-deadletter-offset"] == b"-1"
    detail = first.headers["batuta-deadletter-detail"].decode()
    assert "lanes counting wrote 70," in detail
    assert "takes 20,000 at most (max.message.bytes)" in detail
    assert "the first 65,536 are here" in detail


@pytest.mark.parametrize("topic", ["deadletters", "changelog"])
async def test_what_cannot_be_given_up_for_its_size_stops_the_lane(
    make_bench: Callable[..., Awaitable[Bench]], topic: str
) -> None:
    bench = await make_bench(output_bytes_max=20_000)
    name = {"deadletters": bench.layout.deadletters, "changelog": bench.layout.changelog}[topic]
    await bench.limit(name, 1_000)
    worker = bench.worker()

    async def remember(batch: Batch[Item, Counts]) -> None:
        now_ms = batch.context.now_ms
        if batch.items:
            batch.context.timers.set(Timer("later", "k", now_ms + 100, "processing", b""))
        for _ in batch.firings:
            if topic == "changelog":
                later = Timer("later", "k", now_ms + 90_000, "processing", b"x" * 2_000)
                batch.context.timers.set(later)
            else:
                batch.forward(Output(worker.layout.outputs, b"k", b"x" * 30_000))

    worker.think = remember
    await bench.send([(0, b"k", b'{"id":1}')])
    async with worker.running():
        await bench.eventually(lambda: worker.source.failure)
        assert name in str(worker.source.failure)
    assert (await bench.committed())[bench.layout.inputs[0], 0] == 1
