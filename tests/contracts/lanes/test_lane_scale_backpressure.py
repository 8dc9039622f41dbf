"""A lane that cannot go on takes nothing more, shows it, and goes on from where it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item
    from batuta.streams.lanes.lossy_proxy import LossyProxy

FETCH: Final = 1
HEARTBEAT: Final = 12
PAUSED: Final = "batuta_lanes_paused"
HELD_BACK: Final = "batuta_backpressure_seconds_total"


def _hanging(
    gate: asyncio.Event, lanes: set[int]
) -> Callable[[Batch[Item, Counts]], Awaitable[None]]:
    """What hangs in these lanes until the gate opens."""

    async def think(batch: Batch[Item, Counts]) -> None:
        if batch.context.partition in lanes:
            await gate.wait()

    return think


async def _heartbeats(proxy: LossyProxy, count: int, worker: CountingWorker) -> None:
    """Let so many heartbeats go by: the time in which fetches would be seen."""
    until = proxy.asked[HEARTBEAT] + count
    while proxy.asked[HEARTBEAT] < until:
        assert worker.source.failure is None
        await asyncio.sleep(0.01)


async def test_a_lane_that_hangs_is_shown_delays_nobody_and_goes_on_where_it_was(
    bench: Bench,
) -> None:
    gate = asyncio.Event()
    worker = bench.worker(_hanging(gate, {0}), pause_after_ms=300, batch_records_max=20)
    ids = await bench.publish(600, keys=40)
    async with worker.running():
        await bench.eventually(lambda: worker.metric(PAUSED) == 1)
        held_back_s = worker.metric(HELD_BACK)
        assert held_back_s >= 0.3
        ids += await bench.publish(600, keys=40)
        ends = await bench.ends()
        topic = bench.layout.inputs[0]

        async def others_are_done() -> bool:
            return (await bench.committed())[topic, 1] == ends[topic, 1]

        await bench.eventually_async(others_are_done)
        assert (await bench.committed())[topic, 0] == 0
        assert worker.metric(PAUSED) == 1
        assert worker.metric(HELD_BACK) > held_back_s
        gate.set()
        seen = await bench.until_output(len(ids))
        await bench.eventually(lambda: worker.metric(PAUSED) == 0)
        assert len(worker.states) == 2, "no lane was restored"
        assert worker.metric("batuta_rebalances_total") == 1
    bench.check_exactly_once(seen, ids)


async def test_lanes_that_hang_keep_nobody_busy_with_fetches(
    bench: Bench, proxy: LossyProxy
) -> None:
    gate = asyncio.Event()
    worker = bench.worker(_hanging(gate, {0, 1}), proxy.bootstrap, pause_after_ms=300)
    ids = await bench.publish(20)
    async with worker.running():
        # They have taken all there is, so nothing but the pause keeps the consumer from asking.
        await bench.eventually(lambda: worker.metric(PAUSED) == 2)
        await _heartbeats(proxy, 2, worker)
        fetches = proxy.asked[FETCH]
        await _heartbeats(proxy, 4, worker)
        assert proxy.asked[FETCH] == fetches
        ids += await bench.publish(20)
        gate.set()
        seen = await bench.until_output(40)
    bench.check_exactly_once(seen, ids)


async def test_what_waits_for_a_lane_that_hangs_waits_on_the_broker(
    bench: Bench, proxy: LossyProxy
) -> None:
    gate, limit = asyncio.Event(), 64 << 10
    worker = bench.worker(
        _hanging(gate, {0, 1}),
        proxy.bootstrap,
        batch_records_max=50,
        fetch_partition_bytes_max=limit,
    )
    waiting = b'{"id":%d,"filling":"' + b"x" * 1_000 + b'"}'
    for _ in range(4):
        await bench.send([(n % 2, b"k%d" % (n % 2), waiting % 0) for n in range(1_000)])
    async with worker.running():
        await bench.eventually(lambda: worker.metric("batuta_backpressure_seconds_total") > 2)
        # One fetch lies in each lane's hand, one beside it; the producer's batches are not cut.
        assert proxy.answered_bytes[FETCH] < 2_000_000 < 4_000 * 1_000
        await _heartbeats(proxy, 2, worker)
        fetches = proxy.asked[FETCH]
        await _heartbeats(proxy, 4, worker)
        assert proxy.asked[FETCH] == fetches
        gate.set()
        await bench.until_output(4_000)
        assert proxy.answered_bytes[FETCH] < 2 * 4_000 * 1_100, "little is fetched twice"


async def test_a_rebalance_lets_paused_lanes_flow_with_their_next_owner(bench: Bench) -> None:
    gate = asyncio.Event()
    hung = bench.worker(_hanging(gate, {0, 1}), pause_after_ms=300)
    ids = await bench.publish(200)
    async with hung.running():
        await bench.eventually(lambda: hung.metric(PAUSED) == 2)
        async with bench.worker().running() as guest:
            await bench.eventually(lambda: guest.committed > 0)
            gate.set()
            seen = await bench.until_output(200)
            assert hung.metric(PAUSED) == 0
    bench.check_exactly_once(seen, ids)
