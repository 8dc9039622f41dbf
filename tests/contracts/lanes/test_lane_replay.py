"""Replay: records wait in a lane for their turn, and one that is poison is found among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.agents.state.event_time import AFTER_ALL_MS
from batuta.schemas.errors import LaterError
from batuta.schemas.watermark import Watermark, encode_watermark
from batuta.streams.lanes.stage import EventTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item

POISON = (13, 14, 52)


async def _refuse_poison(batch: Batch[Item, Counts]) -> None:
    if any(item.event_id in POISON for item in batch.items):
        raise LaterError("the outside world does not take this one")


def _replaying(bench: Bench) -> CountingWorker:
    """Return a worker that takes events in the order of their ids, once a watermark has passed."""
    time = EventTime(60_000, hears={bench.layout.inputs[0]: 1}, time_of=lambda item: item.event_id)
    return bench.worker(_refuse_poison, event_time=time, retry_attempts_max=2)


async def _tell(bench: Bench, time_ms: int) -> None:
    await bench.forward([encode_watermark(Watermark(0, time_ms), bench.layout.inputs[0], 0)])


async def test_poison_that_was_held_is_buried_alone_and_nobody_else(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(partitions=1)
    held, fresh = range(29, -1, -1), range(50, 54)
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in held])
    async with _replaying(bench).running():
        await bench.eventually_async(bench.at_the_end)
    assert await bench.outputs() == []
    # What is read beside the watermark is read by the batch that lets the others go.
    await _tell(bench, 40)
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in fresh])
    async with _replaying(bench).running() as worker:
        await bench.eventually(lambda: worker.committed == 28)
        await bench.eventually_async(bench.at_the_end)
        assert worker.metric("batuta_deadletters_total", reason="gave_up") == 2
        assert worker.metric("batuta_events_finished_total", outcome="dead_letter") == 2
    await _tell(bench, AFTER_ALL_MS)
    async with _replaying(bench).running() as worker:
        await bench.eventually(lambda: worker.committed == 3)
        await bench.eventually_async(bench.at_the_end)
        assert worker.source.memories()[0].held.entries() == 0
    bench.check_exactly_once(
        await bench.outputs(), [n for n in (*range(30), *fresh) if n not in POISON]
    )
    letters = await bench.deadletters()
    assert [letter.event["id"] for letter in letters] == list(POISON)
    where = [letter.headers["batuta-deadletter-offset"] for letter in letters]
    assert where[:2] == [b"16", b"15"]
    assert {letter.headers["batuta-deadletter-attempts"] for letter in letters} == {b"2"}
