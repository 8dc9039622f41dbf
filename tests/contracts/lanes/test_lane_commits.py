"""Commits that fail, that nobody saw end, or that meet another owner: never doubled, never lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from batuta.schemas.errors import OursError

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts, Item
    from batuta.streams.lanes.lossy_proxy import LossyProxy

END_TXN = 26


async def test_a_fenced_producer_that_still_owns_its_lane_starts_again(bench: Bench) -> None:
    ids = await bench.publish(200)
    fenced = 0

    async def think(batch: Batch[Item, Counts]) -> None:
        nonlocal fenced
        # Each time another producer: a batch that was under way as well fences the same.
        aborted = worker.metric("batuta_transactions_total", result="aborted")
        if fenced < 2 and aborted == fenced:
            fenced += 1
            await _fence(bench, batch.context.partition)

    worker = bench.worker(think, batch_records_max=30)
    async with worker.running():
        seen = await bench.until_output(200)
        assert worker.metric("batuta_transactions_total", result="aborted") >= 2
        assert worker.metric("batuta_lane_restarts_total") >= 2
        assert worker.source.failure is None
    bench.check_exactly_once(seen, ids)


async def test_a_failed_commit_advances_nothing(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(10)])
    retrying = asyncio.Event()

    async def think(batch: Batch[Item, Counts]) -> None:
        await _fence(bench, batch.context.partition)
        retrying.set()

    worker = bench.worker(think)
    async with worker.running():
        await bench.eventually(lambda: worker.metric("batuta_lane_restarts_total") >= 3)
        assert worker.committed == 0
        assert (await bench.committed())[bench.layout.inputs[0], 0] == 0
        assert await bench.outputs() == []


async def test_a_commit_whose_answer_was_lost_is_neither_doubled_nor_lost(
    bench: Bench, proxy: LossyProxy
) -> None:
    ids = await bench.publish(60)
    told: list[int] = []

    async def think(batch: Batch[Item, Counts]) -> None:
        batch.after_commit(lambda: told.extend(item.event_id for item in batch.items))
        if not proxy.lost:
            proxy.losing = END_TXN

    worker = bench.worker(
        think, bootstrap=proxy.bootstrap, transaction_timeout_ms=400, batch_records_max=10
    )
    async with worker.running():
        await bench.eventually(lambda: worker.metric("batuta_lane_restarts_total") >= 1)
        proxy.heal()
        seen = await bench.until_output(60)
        states = len(worker.states)
    bench.check_exactly_once(seen, ids)
    assert proxy.lost > 0
    assert sorted(told) == ids, "what was committed is counted once, seen or not"
    assert states == 2, "the state was at hand: nothing had to be restored"


async def test_a_commit_that_never_arrived_is_made_again(bench: Bench, proxy: LossyProxy) -> None:
    ids = await bench.publish(60)

    async def think(_: Batch[Item, Counts]) -> None:
        if not proxy.lost:
            proxy.withholding = END_TXN

    worker = bench.worker(
        think, bootstrap=proxy.bootstrap, transaction_timeout_ms=400, batch_records_max=10
    )
    async with worker.running():
        await bench.eventually(lambda: worker.metric("batuta_lane_restarts_total") >= 1)
        proxy.heal()
        seen = await bench.until_output(60)
        assert len(worker.states) == 2, "rolled back, not restored"
    bench.check_exactly_once(seen, ids)
    assert proxy.lost > 0


async def test_a_broker_that_goes_away_and_comes_back_costs_nothing(
    bench: Bench, proxy: LossyProxy
) -> None:
    ids = await bench.publish(300)
    thought = 0

    async def think(_: Batch[Item, Counts]) -> None:
        nonlocal thought
        thought += 1
        if thought in {3, 9}:
            proxy.cut()
            asyncio.get_running_loop().call_later(0.5, proxy.heal)

    worker = bench.worker(
        think, bootstrap=proxy.bootstrap, batch_records_max=20, transaction_timeout_ms=600
    )
    async with worker.running():
        seen = await bench.until_output(300)
        more = await bench.publish(20)
        seen = await bench.until_output(320)
        await bench.ready()
    bench.check_exactly_once(seen, ids + more)


async def test_a_worker_killed_inside_a_transaction_is_succeeded(
    bench: Bench, spawn: Callable[..., Popen[bytes]]
) -> None:
    ids = await bench.publish(200)
    victim = spawn(bench, commits=4)
    assert await asyncio.to_thread(victim.wait, 30) == -9
    committed = sum((await bench.committed()).values())
    assert committed <= 60, "at most three commits: the fourth never was, nor any beside it"
    async with bench.worker().running():
        await bench.eventually_async(bench.at_the_end)
        seen = await bench.outputs()
    bench.check_exactly_once(seen, ids)


async def test_records_deleted_unread_are_skipped_and_told(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(20)])
    async with bench.worker().running():
        await bench.until_output(20)
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(20, 60)])
    await asyncio.to_thread(_delete_before, bench, 50)
    second = bench.worker()
    async with second.running():
        await bench.eventually(lambda: second.committed == 10)
        await bench.eventually_async(bench.at_the_end)
    seen = await bench.outputs()
    assert [record.event["id"] for record in seen] == [*range(20), *range(50, 60)]


async def test_a_log_made_anew_stops_the_lane(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(5)])
    await bench.commit_by_hand({(bench.layout.inputs[0], 0): 1_000})
    worker = bench.worker()
    async with worker.running():
        await bench.eventually(lambda: worker.source.failure)
        assert not worker.source.ready
    assert isinstance(worker.source.failure, OursError)
    assert bench.layout.inputs[0] in str(worker.source.failure)
    assert await bench.outputs() == []


async def _fence(bench: Bench, partition: int) -> None:
    """Take the lane's transactional id, as another owner would."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bench.bootstrap, transactional_id=f"{bench.layout.group}-{partition}"
    )
    await producer.start()
    await producer.stop()


def _delete_before(bench: Bench, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    place = TopicPartition(bench.layout.inputs[0], 0, offset)
    for done in admin.delete_records([place]).values():
        done.result(10)
