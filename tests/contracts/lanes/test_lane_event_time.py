"""Event time: watermarks travel with the events, and the slowest lane above rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batuta.agents.state.timers import Timer
from batuta.schemas.record import Output
from batuta.schemas.watermark import Watermark, decode_watermark, encode_watermark, is_watermark
from batuta.streams.lanes.stage import EventTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item

LANES = 2


def _listening(bench: Bench, **overrides: Any) -> CountingWorker:
    """Return a worker below two lanes, which notes the watermark of each batch in its output."""
    time = EventTime(60_000, hears={bench.layout.inputs[0]: LANES})
    worker = bench.worker(event_time=time, **overrides)

    async def think(batch: Batch[Item, Counts]) -> None:
        for item in batch.items:
            timer = Timer("at", str(item.event_id), item.event_id, "event")
            batch.context.timers.set(timer)
        for firing in batch.firings:
            value = b'{"id":%d,"count":%d}' % (firing.due_ms, firing.at_ms)
            batch.forward(Output(bench.layout.outputs, b"fired", value))
        fired = len(batch.firings)
        batch.after_commit(lambda: worker.note(fired))

    worker.think = think
    return worker


async def _tell(bench: Bench, *told: Watermark, partition: int = 0) -> None:
    topic = bench.layout.inputs[0]
    outputs = [encode_watermark(one, topic, partition) for one in told]
    await bench.forward(outputs)


def _fired(seen: Sequence[object]) -> list[tuple[int, int]]:
    return [(r.event["id"], r.event["count"]) for r in seen if r.key == b"fired"]  # type: ignore[attr-defined]


async def test_the_slowest_lane_above_rules_and_an_idle_one_holds_nobody(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in (100, 200, 300)])
    worker = _listening(bench)
    async with worker.running():
        await bench.until_output(3)
        await _tell(bench, Watermark(0, 250), Watermark(1, 150))
        await bench.until_output(4)
        assert _fired(await bench.outputs()) == [(100, 150)]
        await _tell(bench, Watermark(1, 150, idle=True))
        await bench.until_output(5)
        await _tell(bench, Watermark(0, 400))
        await bench.until_output(6)
    assert _fired(await bench.outputs()) == [(100, 150), (200, 250), (300, 400)]


async def test_event_time_survives_its_owner(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in (100, 200)])
    await _tell(bench, Watermark(0, 50), Watermark(1, 150))
    async with _listening(bench).running():
        await bench.until_output(2)
    await _tell(bench, Watermark(0, 210))
    async with _listening(bench).running():
        await bench.until_output(3)
    await _tell(bench, Watermark(1, 201))
    async with _listening(bench).running():
        await bench.until_output(4)
    assert _fired(await bench.outputs()) == [(100, 150), (200, 201)]


async def test_watermarks_are_no_events(bench: Bench) -> None:
    await _tell(bench, Watermark(0, 1), Watermark(1, 2), Watermark(0, 3))
    await bench.send([(0, b"k", b'{"id":1}')])
    worker = _listening(bench)
    async with worker.running():
        await bench.until_output(1)
        await bench.eventually_async(bench.at_the_end)
    assert worker.metric("batuta_events_received_total") == 1
    assert await bench.deadletters() == []


async def test_a_lane_tells_every_partition_below_how_far_it_has_come(bench: Bench) -> None:
    below = bench.layout.outputs
    worker = bench.worker(event_time=EventTime(200, tells=(below,)), watermark_interval_ms=1)
    await bench.send([(0, b"a", b'{"id":5}'), (1, b"b", b'{"id":7}')])
    async with worker.running():
        await bench.until_output(2)
        await bench.eventually_async(lambda: _both_idle(bench))
    for partition in range(LANES):
        told = await _told(bench, partition)
        for lane, time_ms in ((0, 5), (1, 7)):
            mine = [one for one in told if one.lane == lane]
            assert mine[0] == Watermark(lane, time_ms)
            assert mine[-1] == Watermark(lane, time_ms, idle=True)


async def _told(bench: Bench, partition: int) -> list[Watermark]:
    records = await bench.records(bench.layout.outputs)
    here = [record for record in records if record.partition == partition]
    return [decode_watermark(record) for record in here if is_watermark(record)]


async def _both_idle(bench: Bench) -> bool:
    told = await _told(bench, 0)
    return {one.lane for one in told if one.idle} == {0, 1}
