"""The plain walk: events in, counts out, offsets at the end, and nothing left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts, Item


async def test_every_event_comes_out_once_and_in_the_order_of_its_key(bench: Bench) -> None:
    ids = await bench.publish(500)
    async with bench.worker().running():
        seen = await bench.until_output(500)
    bench.check_exactly_once(seen, ids)


async def test_commits_reach_the_end_behind_transaction_markers(bench: Bench) -> None:
    rows = [(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % n) for n in range(40)]
    await bench.send(rows[:20], transaction=bench.layout.group + "-a")
    await bench.send([(0, b"k0", b'{"id":900}')], transaction=bench.layout.group + "-b", abort=True)
    await bench.send(rows[20:], transaction=bench.layout.group + "-a")
    await bench.send([(1, b"k1", b'{"id":901}')], transaction=bench.layout.group + "-b", abort=True)
    worker = bench.worker()
    async with worker.running():
        seen = await bench.until_output(40)
        await bench.eventually_async(bench.at_the_end)
        await bench.eventually(lambda: worker.metric("batuta_consumer_lag_records") == 0)
        # An idle lane follows too, though no record is to be seen.
        await bench.send([(0, b"k0", b'{"id":902}')], transaction=bench.layout.group, abort=True)
        await bench.eventually_async(bench.at_the_end)
    bench.check_exactly_once(seen, range(40))


async def test_a_batch_in_flight_holds_back_its_own_lane_alone(bench: Bench) -> None:
    gate = asyncio.Event()

    async def think(batch: Batch[Item, Counts]) -> None:
        if batch.context.partition == 0:
            await gate.wait()

    await bench.send([(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % n) for n in range(200)])
    async with bench.worker(think, batch_records_max=10).running() as worker:
        await bench.eventually(lambda: worker.committed == 100)
        at_gate = await bench.committed()
        assert at_gate[bench.layout.inputs[0], 0] == 0
        assert at_gate[bench.layout.inputs[0], 1] == 100
        gate.set()
        seen = await bench.until_output(200)
    bench.check_exactly_once(seen, range(200))


async def test_draining_commits_what_was_begun_and_leaves_nothing(bench: Bench) -> None:
    before = asyncio.all_tasks()
    begun = asyncio.Event()

    async def think(batch: object) -> None:
        del batch
        begun.set()
        await asyncio.sleep(0.2)

    ids = await bench.publish(100)
    worker = bench.worker(think, batch_records_max=10)
    await worker.start()
    await begun.wait()
    await worker.stop()
    seen = await bench.outputs()
    assert 0 < len(seen) < len(ids), "it should stop amid the work"
    assert sum((await bench.committed()).values()) == len(seen) == worker.committed
    assert asyncio.all_tasks() == before
    assert await asyncio.to_thread(_members, bench) == 0
    async with bench.worker().running():
        seen = await bench.until_output(len(ids))
    bench.check_exactly_once(seen, ids)


async def test_no_port_is_opened(bench: Bench) -> None:
    before = _listening()
    async with bench.worker().running():
        await bench.ready()
        assert _listening() == before


async def test_state_is_restored_as_it_was(bench: Bench) -> None:
    await bench.publish(300, keys=50)
    first = bench.worker(batch_records_max=20)
    async with first.running():
        await bench.until_output(300)
        left = [dict(state.kept) for state in first.states]
    second = bench.worker()
    async with second.running():
        await bench.ready(second)
        restored = [dict(state.kept) for state in second.states]
    assert sum(sum(counts.values()) for counts in left) == 300
    assert sorted(map(sorted, restored)) == sorted(map(sorted, left))
    assert {k: v for s in restored for k, v in s.items()} == {
        k: v for s in left for k, v in s.items()
    }


async def test_two_inputs_of_a_lane_commit_together(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2)
    ids = await bench.publish(100)
    ids += await bench.publish(100, topic=bench.layout.inputs[1])
    async with bench.worker().running():
        seen = await bench.until_output(200)
        await bench.eventually_async(bench.at_the_end)
    assert sorted(record.event["id"] for record in seen) == ids


def _members(bench: Bench) -> int:
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    group = bench.layout.group
    return len(admin.describe_consumer_groups([group])[group].result(10).members)


def _listening() -> set[str]:
    """The inodes of this process's listening TCP sockets."""
    listening: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        listening |= {row[9] for row in rows if row[3] == "0A"}
    links = [fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    own = {str(link.readlink()) for link in links}
    return {inode for inode in listening if f"socket:[{inode}]" in own}
