"""Static members: a restart moves no lane; of two under one id, or one that slept, one commits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

import pytest

from batuta.schemas.errors import InstanceIdTakenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from subprocess import Popen

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item

    MakeBench = Callable[..., Awaitable[Bench]]
    Spawn = Callable[..., Popen[bytes]]

REBALANCES: Final = "batuta_rebalances_total"
#: A restart takes its time on a busy machine.
LONG_SESSION: Final = {
    "session_timeout_ms": 20_000,
    "rebalance_timeout_ms": 22_000,
    "request_timeout_ms": 24_000,
}
#: Several batches of a lane wait for their model at once.
IN_FLIGHT: Final = {"batches_in_flight_max": 4, "soft_deadline_ms": 5_000}


def _patient(
    bench: Bench,
    instance_id: str,
    think: Callable[[Batch[Item, Counts]], Awaitable[None]] | None = None,
) -> CountingWorker:
    """A worker whose session outlasts a restart."""
    settings: dict[str, object] = {**LONG_SESSION, "instance_id": instance_id}
    return bench.worker(think, None, None, None, batch_records_max=20, **settings)


def _lanes(worker: CountingWorker) -> set[int]:
    member = worker.source._member  # pyright: ignore[reportPrivateUsage]
    return set() if member is None else {tp.partition for tp in member.assignment()}


def _share(bench: Bench, *workers: CountingWorker) -> bool:
    """Whether these are ready and have every lane among them."""
    lanes = [lane for worker in workers for lane in _lanes(worker)]
    return all(worker.source.ready for worker in workers) and sorted(lanes) == list(
        range(bench.layout.partitions)
    )


async def _some_committed(bench: Bench) -> bool:
    return sum((await bench.committed()).values()) > 0


async def _slowly(batch: Batch[Item, Counts]) -> None:
    del batch
    await asyncio.sleep(0.01)


async def test_a_restart_within_the_session_moves_no_lane(make_bench: MakeBench) -> None:
    bench = await make_bench(partitions=4)
    ids = await bench.publish(200, keys=20)
    one = _patient(bench, "one")
    two = _patient(bench, "two")
    async with contextlib.AsyncExitStack() as running:
        await one.start()
        await running.enter_async_context(two.running())
        await bench.eventually(lambda: _share(bench, one, two))
        lanes, rebalances, restores = _lanes(one), two.metric(REBALANCES), len(two.states)
        await one.stop()
        ids += await bench.publish(200, keys=20)
        again = _patient(bench, "one")
        await running.enter_async_context(again.running())
        await bench.eventually(lambda: _share(bench, again, two))
        seen = await bench.until_output(400)
        assert _lanes(again) == lanes
        assert (two.metric(REBALANCES), len(two.states)) == (rebalances, restores)
    bench.check_exactly_once(seen, ids)


async def test_a_killed_worker_that_is_back_within_the_session_moves_no_lane(
    make_bench: MakeBench, spawn: Spawn
) -> None:
    bench = await make_bench(partitions=4)
    two = _patient(bench, "two")
    async with two.running():
        await bench.ready()
        killed = spawn(bench, instance_id="one", **LONG_SESSION)
        await bench.eventually(lambda: len(_lanes(two)) == 2 and two.source.ready)
        rebalances = two.metric(REBALANCES)
        ids = await bench.publish(2_000, keys=40)
        await bench.eventually_async(lambda: _some_committed(bench))
        killed.kill()
        killed.wait()
        spawn(bench, instance_id="one", **LONG_SESSION)
        await bench.eventually_async(bench.at_the_end)
        seen = await bench.outputs()
        assert two.metric(REBALANCES) == rebalances
    bench.check_exactly_once(seen, ids)


async def test_of_two_workers_under_one_id_the_older_stops_and_says_why(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(partitions=4)
    ids = await bench.publish(600, keys=40)
    older = bench.worker(_slowly, instance_id="one", batch_records_max=10)
    async with older.running():
        await bench.eventually(lambda: older.committed > 0)
        newer = bench.worker(_slowly, instance_id="one", batch_records_max=10)
        async with newer.running():
            await bench.eventually(lambda: older.source.failure)
            assert isinstance(older.source.failure, InstanceIdTakenError)
            assert "BATUTA_INSTANCE_ID" in str(older.source.failure)
            assert not older.source.ready
            committed = older.committed
            ids += await bench.publish(200, keys=40)
            seen = await bench.until_output(len(ids))
            assert older.committed == committed
            # It does not take the place back: the group sees one change and no more.
            assert newer.source.failure is None
            assert newer.metric(REBALANCES) == 1
    bench.check_exactly_once(seen, ids)


@pytest.mark.parametrize("instance_ids", [(None, None), ("one", "two")], ids=["dynamic", "static"])
async def test_who_sleeps_through_its_session_with_batches_in_flight_commits_none(
    bench: Bench, spawn: Spawn, instance_ids: tuple[str | None, str | None]
) -> None:
    ids = await bench.publish(800)
    sleeper = spawn(bench, ask_s=0.2, instance_id=instance_ids[0], **IN_FLIGHT)
    await bench.eventually_async(lambda: _some_committed(bench))
    sleeper.send_signal(signal.SIGSTOP)
    other = bench.worker(instance_id=instance_ids[1], batch_records_max=20)
    async with other.running():
        await bench.eventually(lambda: _share(bench, other))
        rebalances = other.metric(REBALANCES)
        await bench.eventually(lambda: other.committed > 20)
        sleeper.send_signal(signal.SIGCONT)
        await bench.eventually(lambda: other.metric(REBALANCES) > rebalances)
        ids += await bench.publish(100)
        await bench.eventually_async(bench.at_the_end)
        seen = await bench.outputs()
    bench.check_exactly_once(seen, ids)


async def test_who_sleeps_while_another_takes_its_place_commits_none(
    bench: Bench, spawn: Spawn
) -> None:
    ids = await bench.publish(800)
    sleeper = spawn(bench, ask_s=0.2, instance_id="one", **IN_FLIGHT, **LONG_SESSION)
    await bench.eventually_async(lambda: _some_committed(bench))
    sleeper.send_signal(signal.SIGSTOP)
    # Within its session, so the group gives its lanes on without a rebalance.
    successor = _patient(bench, "one", _slowly)
    async with successor.running():
        await bench.eventually(lambda: successor.committed > 20)
        sleeper.send_signal(signal.SIGCONT)
        ids += await bench.publish(100)
        await bench.eventually_async(bench.at_the_end)
        seen = await bench.outputs()
        assert successor.source.failure is None
        assert successor.metric(REBALANCES) == 1
    bench.check_exactly_once(seen, ids)
