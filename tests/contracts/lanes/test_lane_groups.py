"""Workers come and go: lanes move together, stay where they can, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from prometheus_client import CollectorRegistry

from batuta.schemas.errors import OwnershipLostError, TopicMismatchError
from batuta.streams.lanes.assignor import LaneAssignor
from batuta.streams.lanes.backpressure import Backpressure
from batuta.streams.lanes.kafka_log import KafkaMember
from batuta.streams.lanes.lane_testing import lane_settings
from batuta.streams.lanes.ownership import Ownership
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from subprocess import Popen

    from aiokafka import TopicPartition
    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item

    MakeBench = Callable[..., Awaitable[Bench]]


def _lanes(worker: CountingWorker) -> list[int]:
    """The lanes a worker has, each with all its inputs."""
    member = worker.source._member  # pyright: ignore[reportPrivateUsage]
    assert member is not None
    given = sorted((tp.partition, tp.topic) for tp in member.assignment())
    lanes = sorted({partition for partition, _ in given})
    assert given == [(n, topic) for n in lanes for topic in sorted(worker.layout.inputs)]
    return lanes


def _settled(*workers: CountingWorker) -> bool:
    """Whether these workers are ready and share every lane."""
    if not all(worker.source.ready for worker in workers):
        return False
    return sum(len(_lanes(worker)) for worker in workers) == workers[0].layout.partitions


async def test_three_members_share_co_partitions_evenly_and_lanes_that_stay_are_not_restored(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(partitions=6, inputs=2)
    ids = await bench.publish(60)
    async with contextlib.AsyncExitStack() as running:
        first, second, third = (bench.worker() for _ in range(3))
        await running.enter_async_context(first.running())
        await bench.eventually(lambda: _settled(first))
        await running.enter_async_context(second.running())
        await bench.eventually(lambda: _settled(first, second))
        stayed = _lanes(first)
        assert len(stayed) == 3
        await running.enter_async_context(third.running())
        await bench.eventually(lambda: _settled(first, second, third))
        assert [len(_lanes(worker)) for worker in (first, second, third)] == [2, 2, 2]
        assert set(_lanes(first)) < set(stayed)
        ids += await bench.publish(60)
        seen = await bench.until_output(120)
        # A lane is restored where it comes, never where it stays.
        assert [len(worker.states) for worker in (first, second, third)] == [6, 3, 2]
    bench.check_exactly_once(seen, ids)


async def test_more_workers_than_partitions_leave_a_spare_that_takes_over(bench: Bench) -> None:
    workers = [bench.worker() for _ in range(3)]
    async with contextlib.AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(worker.running())
        await bench.eventually(lambda: _settled(*workers))
        assert sorted(len(_lanes(worker)) for worker in workers) == [0, 1, 1]
        busy = next(worker for worker in workers if _lanes(worker))
        await busy.stop()
        rest = [worker for worker in workers if worker is not busy]
        await bench.eventually(lambda: _settled(*rest))
        ids = await bench.publish(40)
        seen = await bench.until_output(40)
    bench.check_exactly_once(seen, ids)


async def test_a_restore_longer_than_the_session_starts_no_rebalance_loop(bench: Bench) -> None:
    ids = await bench.publish(400, keys=200)
    async with bench.worker().running():
        await bench.until_output(400)
    worker = bench.worker(session_timeout_ms=800, heartbeat_interval_ms=100)
    worker.load_s = 0.005
    async with worker.running():
        await bench.eventually(lambda: worker.states)
        # What comes meanwhile is fetched before the lanes are ready: neither lost nor doubled.
        ids += await bench.publish(50, keys=200)
        assert not worker.source.ready
        seen = await bench.until_output(450)
        assert worker.metric("batuta_rebalances_total") == 1
        assert len(worker.states) == 2
    bench.check_exactly_once(seen, ids)


async def test_nothing_is_lost_or_doubled_while_workers_join_and_leave(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(partitions=4)

    async def think(batch: Batch[Item, Counts]) -> None:
        del batch
        await asyncio.sleep(0.01)

    stayer = bench.worker(think, batch_records_max=20)
    ids: list[int] = []
    async with stayer.running():
        await bench.ready(stayer)
        for _ in range(3):
            ids += await bench.publish(400, keys=40)
            guest = bench.worker(think, batch_records_max=20)
            async with guest.running():
                await bench.eventually(lambda guest=guest: guest.source.ready)
                ids += await bench.publish(200, keys=40)
        seen = await bench.until_output(len(ids))
    bench.check_exactly_once(seen, ids)


async def test_a_batch_abandoned_at_a_rebalance_commits_nothing_and_spoils_no_state(
    bench: Bench,
) -> None:
    ids = await bench.publish(40)
    gate, held = asyncio.Event(), 0

    async def think(_: Batch[Item, Counts]) -> None:
        nonlocal held
        if held < bench.layout.partitions:
            held += 1
            await gate.wait()

    slow = bench.worker(think)
    async with slow.running():
        await bench.eventually(lambda: held == bench.layout.partitions)
        async with bench.worker().running() as guest:
            # The guest has a lane from the log; the other is restored beside the hung batch.
            await bench.eventually(lambda: guest.committed > 0 and guest.source.ready)
            await bench.eventually(lambda: len(slow.states) > bench.layout.partitions)
            gate.set()
            seen = await bench.until_output(40)
    bench.check_exactly_once(seen, ids)


async def test_a_worker_that_slept_through_its_session_commits_nothing_more(
    bench: Bench, spawn: Callable[..., Popen[bytes]]
) -> None:
    ids = await bench.publish(600)
    sleeper = spawn(bench)
    await bench.eventually_async(lambda: _any_committed(bench))
    sleeper.send_signal(signal.SIGSTOP)
    async with bench.worker(batch_records_max=20).running() as worker:
        await bench.eventually(lambda: _settled(worker))
        rebalances = worker.metric("batuta_rebalances_total")
        sleeper.send_signal(signal.SIGCONT)
        await bench.eventually(lambda: worker.metric("batuta_rebalances_total") > rebalances)
        ids += await bench.publish(100)
        await bench.eventually_async(bench.at_the_end)
        seen = await bench.outputs()
    bench.check_exactly_once(seen, ids)


async def test_who_the_group_has_moved_on_from_takes_no_producer_id(bench: Bench) -> None:
    settings = lane_settings(
        bench.bootstrap,
        session_timeout_ms=60_000,
        # It will not notice by itself in time.
        heartbeat_interval_ms=19_000,
        rebalance_timeout_ms=61_000,
        request_timeout_ms=70_000,
    )

    def member() -> KafkaMember:
        return KafkaMember(settings, bench.layout.group, LaneAssignor(), None)

    first, second = member(), member()
    await first.start(bench.layout.inputs, _Unconcerned())
    await bench.eventually(first.assignment)
    telemetry = StageTelemetry("lanes", "counting", CollectorRegistry())
    ownership = Ownership(first, Backpressure(first, telemetry, settings.pause_after_ms))
    await ownership.confirm()
    joining = asyncio.create_task(second.start(bench.layout.inputs, _Unconcerned()))
    try:
        await bench.eventually_async(lambda: _moved_on(first))
        with pytest.raises(OwnershipLostError):
            await ownership.confirm()
    finally:
        await asyncio.gather(joining, first.stop())
        await second.stop()


async def test_a_partition_count_that_changes_stops_the_source(bench: Bench) -> None:
    async with bench.worker(metadata_age_ms_max=300).running() as worker:
        await bench.ready()
        await asyncio.to_thread(_grow, bench, bench.layout.inputs[0])
        await bench.eventually(lambda: worker.source.failure)
        failure = worker.source.failure
        assert not worker.source.ready
        await bench.send([(2, b"k", b'{"id":1}')])
    assert isinstance(failure, TopicMismatchError)
    assert f"{bench.layout.inputs[0]} has 3 partitions" in str(failure)
    assert await bench.outputs() == []


async def test_an_output_whose_partition_count_changes_stops_the_lane(bench: Bench) -> None:
    async with bench.worker(metadata_age_ms_max=300).running() as worker:
        await bench.publish(20)
        await bench.until_output(20)
        await asyncio.to_thread(_grow, bench, bench.layout.outputs)

        async def keep_publishing() -> bool:
            await bench.publish(2)
            return worker.source.failure is not None

        await bench.eventually_async(keep_publishing)
    assert f"{bench.layout.outputs} has 3 partitions" in str(worker.source.failure)


async def test_a_consumer_whose_fetching_died_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await bench.publish(50)
    async with bench.worker().running() as worker:
        await bench.until_output(50)
        member = worker.source._member  # pyright: ignore[reportPrivateUsage]
        assert isinstance(member, KafkaMember)
        fetcher = member._consumer._fetcher  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(fetcher, "_get_actions_per_node", None)
        ids += await bench.publish(50)
        seen = await bench.until_output(100)
        assert worker.source._member is not member  # pyright: ignore[reportPrivateUsage]
        assert len(worker.states) == 2, "the lanes stay warm"
    bench.check_exactly_once(seen, ids)


async def test_a_topic_that_is_deleted_ends_readiness(bench: Bench) -> None:
    async with bench.worker(metadata_age_ms_max=300).running() as worker:
        await bench.ready()
        admin = AdminClient({"bootstrap.servers": bench.bootstrap})
        for done in admin.delete_topics([bench.layout.inputs[0]]).values():
            await asyncio.to_thread(done.result, 10)
        await bench.eventually(lambda: not worker.source.ready)


async def _any_committed(bench: Bench) -> bool:
    return sum((await bench.committed()).values()) > 0


async def _moved_on(member: KafkaMember) -> bool:
    return await member.heartbeat_error_code() != 0


class _Unconcerned:
    """Takes what the group gives and does nothing with it."""

    async def on_revoked(self) -> None:
        pass

    async def on_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        pass


def _grow(bench: Bench, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    for done in admin.create_partitions([NewPartitions(topic, 3)]).values():
        done.result(10)
