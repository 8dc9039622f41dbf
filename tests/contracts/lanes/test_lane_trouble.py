"""Trouble: theirs goes to the dead letters, later is tried again, ours stops the lane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from batuta.schemas.errors import LaterError, OursError
from batuta.schemas.record import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts, Item

    Think = Callable[[Batch[Item, Counts]], Awaitable[None]]

POISON = 13


def _has(batch: Batch[Item, Counts], event_id: int = POISON) -> bool:
    return any(item.event_id == event_id for item in batch.items)


async def _raise_bug(batch: Batch[Item, Counts]) -> None:
    if _has(batch):
        raise ZeroDivisionError("a bug in the agent")


async def _raise_stop_iteration(batch: Batch[Item, Counts]) -> None:
    if _has(batch):
        raise StopIteration


async def _be_cancelled(batch: Batch[Item, Counts]) -> None:
    if _has(batch):
        raise asyncio.CancelledError


@pytest.mark.parametrize("think", [_raise_bug, _raise_stop_iteration, _be_cancelled])
async def test_an_exception_in_the_agent_acknowledges_nothing(bench: Bench, think: Think) -> None:
    rows = [(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % n) for n in range(100)]
    await bench.send(rows)
    broken = bench.worker(think, batch_records_max=5)
    async with broken.running():
        await bench.eventually(lambda: broken.source.failure)
        await bench.eventually(lambda: broken.metric("batuta_lanes", state="failed") == 1)
        assert not broken.source.ready
        # The other lane works on; this one stays before the batch of the poison.
        await bench.eventually(lambda: broken.committed >= 50)
        offset = (await bench.committed())[bench.layout.inputs[0], 1]
        assert offset <= POISON // 2
    assert all(record.event["id"] != POISON for record in await bench.outputs())
    async with bench.worker().running():
        await bench.until_output(100)
        seen = await bench.outputs()
    bench.check_exactly_once(seen, range(100))


async def test_an_agent_that_dies_outside_its_batch_stops_the_lane(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":1}')])
    broken = bench.worker()

    async def die(batch: Batch[Item, Counts]) -> None:
        del batch
        raise RuntimeError("a bug before the batch was opened")

    broken.before = die
    async with broken.running():
        await bench.eventually(lambda: broken.source.failure)
    assert isinstance(broken.source.failure, OursError)
    assert sum((await bench.committed()).values()) == 0


async def test_a_failed_lane_is_not_tried_again_at_a_rebalance(bench: Bench) -> None:
    await bench.send([(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % POISON) for n in range(1)])
    tries: list[int] = []

    async def think(batch: Batch[Item, Counts]) -> None:
        tries.append(1)
        await _raise_bug(batch)

    broken = bench.worker(think)
    async with broken.running():
        await bench.eventually(lambda: broken.source.failure)
        spare = bench.worker(_raise_bug)
        async with spare.running():
            await bench.eventually(lambda: broken.metric("batuta_rebalances_total") >= 2)
        await bench.eventually(lambda: broken.metric("batuta_rebalances_total") >= 3)
    assert tries == [1]


async def test_bad_input_goes_to_the_dead_letters_byte_for_byte(bench: Bench) -> None:
    huge = b"x" * (5 << 20)
    bad = [b"not json", b'{"id": null}', b"\xff\xfe", huge, None]
    rows: list[tuple[int, bytes, bytes | None]]
    rows = [(0, b"k", b'{"id":%d}' % n) for n in range(20)]
    rows[3:3] = [(0, b"bad", value) for value in bad]
    rows += [(1, b"other", b'{"id":%d}' % n) for n in range(20, 40)]
    await bench.send(rows)
    async with bench.worker().running() as worker:
        seen = await bench.until_output(40)
        assert worker.metric("batuta_deadletters_total", reason="not_an_event") == 5
    letters = await bench.deadletters()
    assert [letter.value for letter in letters] == bad
    assert {letter.headers["batuta-deadletter-reason"] for letter in letters} == {b"not_an_event"}
    bench.check_exactly_once(seen, range(40))


async def test_an_output_too_large_is_dead_lettered_alone(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(output_bytes_max=20_000)
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(30)])
    offsets: list[int] = []

    async def think(batch: Batch[Item, Counts]) -> None:
        if _has(batch):
            offsets.append((await bench.committed())[bench.layout.inputs[0], 0])
            batch.forward(Output(bench.layout.outputs, b"k", b"x" * 50_000))

    async with bench.worker(think).running() as worker:
        await bench.eventually(lambda: worker.committed >= 29)
        await bench.eventually_async(bench.at_the_end)
        aborted = worker.metric("batuta_transactions_total", result="aborted")
    assert aborted == len(offsets) > 2, "whole, then halves, then alone"
    assert max(offsets) <= POISON, "its offset passed before it was dead-lettered"
    seen = await bench.outputs()
    assert [record.event["id"] for record in seen] == [n for n in range(30) if n != POISON]
    assert [record.event["count"] for record in seen] == list(range(1, 30))
    (letter,) = await bench.deadletters()
    assert (letter.key, letter.value) == (b"k", b'{"id":%d}' % POISON)
    assert letter.headers["batuta-deadletter-reason"] == b"output_refused"


async def test_the_outside_world_is_asked_again_then_the_event_is_isolated(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(8)])
    sizes: list[int] = []

    async def think(batch: Batch[Item, Counts]) -> None:
        if _has(batch, 5):
            sizes.append(len(batch.items))
            raise LaterError("the model does not answer")

    async with bench.worker(think).running() as worker:
        await bench.eventually(lambda: worker.committed == 7)
        await bench.eventually_async(bench.at_the_end)
        assert worker.metric("batuta_transactions_total", result="aborted") == 0
    assert sizes == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    seen = await bench.outputs()
    assert [record.event["id"] for record in seen] == [0, 1, 2, 3, 4, 6, 7]
    assert [record.event["count"] for record in seen] == [1, 2, 3, 4, 5, 6, 7]
    (letter,) = await bench.deadletters()
    assert letter.value == b'{"id":5}'
    assert letter.headers["batuta-deadletter-reason"] == b"gave_up"


async def test_trouble_that_passes_leaves_no_trace(bench: Bench) -> None:
    ids = await bench.publish(50)
    failures = 2

    async def think(batch: Batch[Item, Counts]) -> None:
        nonlocal failures
        batch.context.state.add(b"never")  # what an aborted batch wrote must be forgotten
        if failures:
            failures -= 1
            raise LaterError("try again")
        assert batch.context.state.layers[-1].pop(b"never") == 1

    async with bench.worker(think).running() as worker:
        seen = await bench.until_output(50)
        assert worker.metric("batuta_events_received_total") == 50
    bench.check_exactly_once(seen, ids)
    assert await bench.deadletters() == []


async def test_a_dead_letter_that_is_refused_stops_the_lane(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench()
    await bench.limit(bench.layout.deadletters, 1_000)
    await bench.send([(0, b"k", b'{"id":1}'), (0, b"k", b"x" * 5_000)])
    async with bench.worker().running() as worker:
        await bench.eventually(lambda: worker.source.failure)
        failure = worker.source.failure
    assert bench.layout.deadletters in str(failure)
    assert (await bench.committed())[bench.layout.inputs[0], 0] == 1
