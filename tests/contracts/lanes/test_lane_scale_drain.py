"""Draining: what is begun is finished, nothing more is taken, and what hangs holds nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts, Item


async def test_what_is_begun_is_finished_and_no_more_is_taken(bench: Bench) -> None:
    gate, begun = asyncio.Event(), 0

    async def think(batch: Batch[Item, Counts]) -> None:
        nonlocal begun
        begun += len(batch.items)
        await gate.wait()

    ids = await bench.publish(200)
    worker = bench.worker(think, batch_records_max=20)
    await worker.start()
    await bench.eventually(lambda: begun == 20 * bench.layout.partitions)
    draining = asyncio.create_task(worker.source.drain())
    # What the drain waits for ends in no other way than by the gate.
    assert not (await asyncio.wait({draining}, timeout=0.3))[0]
    gate.set()
    await draining
    # Of each lane the batch in the agent's hands, and at most one it had taken up behind it.
    assert begun == worker.committed <= 40 * bench.layout.partitions < len(ids)
    await worker.stop()
    assert len(await bench.outputs()) == worker.committed
    async with bench.worker().running():
        seen = await bench.until_output(len(ids))
    bench.check_exactly_once(seen, ids)


async def test_an_agent_that_hangs_holds_no_worker_that_has_waited_enough(bench: Bench) -> None:
    never, held = asyncio.Event(), 0

    async def hang(batch: Batch[Item, Counts]) -> None:
        nonlocal held
        if batch.context.partition == 0:
            held += 1
            await never.wait()

    ids = await bench.publish(200)
    worker = bench.worker(hang, batch_records_max=20)
    await worker.start()
    await bench.eventually(lambda: held and worker.committed > 0)
    draining = asyncio.create_task(worker.source.drain())
    assert not (await asyncio.wait({draining}, timeout=0.3))[0]
    async with asyncio.timeout(30):
        await worker.source.stop()
        await worker.app.stop()
        await draining
    committed = worker.committed
    assert (await bench.committed())[bench.layout.inputs[0], 0] == 0
    async with bench.worker().running():
        seen = await bench.until_output(len(ids))
    assert worker.committed == committed, "it committed nothing behind its end"
    bench.check_exactly_once(seen, ids)
