"""Static members: a worker that restarts within its session takes its own lanes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Bench

    from batuta.streams.lanes.lane_testing import CountingWorker

    MakeBench = Callable[..., Awaitable[Bench]]

#: Longer than any restart of these workers, shorter than the rebalance they would cause.
SESSION_MS = 5_500


async def test_a_static_worker_that_restarts_moves_no_lane(make_bench: MakeBench) -> None:
    bench = await make_bench(partitions=4)
    first, second, again = (
        bench.worker(instance_id=name, session_timeout_ms=SESSION_MS)
        for name in ("first", "second", "first")
    )
    async with second.running():
        async with first.running():
            await bench.eventually(lambda: len(_lanes(first)) == len(_lanes(second)) == 2)
            await bench.ready(first, second)
            ids = await bench.publish(200, keys=40)
            await bench.until_output(200)
            lanes, rebalances = _lanes(first), _rebalances(second)
            # Who comes first may have had all lanes for a moment, and restored them.
            restored = len(second.states)
        # Nobody has these lanes now, and nobody is given them.
        ids += await bench.publish(200, keys=40)
        async with again.running():
            await bench.eventually(lambda: again.source.ready and _lanes(again))
            assert _lanes(again) == lanes
            seen = await bench.until_output(400)
            assert _rebalances(second) == rebalances
            assert len(second.states) == restored, "lanes that stay restore nothing"
            assert len(again.states) == 2
    bench.check_exactly_once(seen, ids)


def _lanes(worker: CountingWorker) -> set[int]:
    member = worker.source._member  # pyright: ignore[reportPrivateUsage]
    return set() if member is None else {tp.partition for tp in member.assignment()}


def _rebalances(worker: CountingWorker) -> float:
    return worker.metric("batuta_rebalances_total")
