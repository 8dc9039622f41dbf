"""Snapshots: a restart reads the tail of the changelog alone, and never a wrong state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bench

    from batuta.streams.lanes.lane_testing import CountingWorker

KEYS = 50


def _results(worker: CountingWorker, result: str) -> float:
    return worker.metric("batuta_state_snapshots_total", result=result)


async def _count(bench: Bench, events: int, worker: CountingWorker) -> None:
    async with worker.running():
        await bench.ready(worker)
        await bench.publish(events, KEYS)
        await bench.eventually(lambda: worker.committed >= events)


def _damage(folder: Path) -> None:
    for path in folder.glob("*.snapshot"):
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 0xFF
        path.write_bytes(whole)


async def test_a_drained_lane_leaves_a_snapshot_that_the_next_owner_goes_on_from(
    bench: Bench, tmp_path: Path
) -> None:
    first = bench.worker(state_dir=tmp_path)
    await _count(bench, 300, first)
    assert _results(first, "saved") == bench.layout.partitions
    second = bench.worker(state_dir=tmp_path)
    await _count(bench, 300, second)
    assert _results(second, "loaded") == bench.layout.partitions
    # More than one state for a lane is a restore from the beginning.
    assert len(second.states) == bench.layout.partitions
    bench.check_exactly_once(await bench.outputs(), range(600))


async def test_what_was_committed_after_the_snapshot_is_read_behind_it(
    bench: Bench, tmp_path: Path
) -> None:
    await _count(bench, 200, bench.worker(state_dir=tmp_path))
    await _count(bench, 200, bench.worker())
    third = bench.worker(state_dir=tmp_path)
    await _count(bench, 200, third)
    assert _results(third, "loaded") == bench.layout.partitions
    bench.check_exactly_once(await bench.outputs(), range(600))


async def test_a_damaged_snapshot_costs_time_alone(bench: Bench, tmp_path: Path) -> None:
    await _count(bench, 200, bench.worker(state_dir=tmp_path))
    _damage(tmp_path)
    second = bench.worker(state_dir=tmp_path)
    await _count(bench, 200, second)
    assert _results(second, "damaged") == bench.layout.partitions
    assert _results(second, "loaded") == 0
    bench.check_exactly_once(await bench.outputs(), range(400))


async def test_snapshots_are_taken_under_load_too(bench: Bench, tmp_path: Path) -> None:
    worker = bench.worker(state_dir=tmp_path, snapshot_interval_ms=1, snapshot_records_min=10)
    async with worker.running():
        await bench.ready(worker)
        for _ in range(5):
            await bench.publish(200, KEYS)
        await bench.eventually(lambda: worker.committed >= 1_000)
        assert _results(worker, "saved") >= bench.layout.partitions
    bench.check_exactly_once(await bench.outputs(), range(1_000))
