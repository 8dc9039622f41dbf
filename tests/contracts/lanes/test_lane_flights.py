"""Several batches of a lane under way: they overlap, they commit in order, they fail together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from batuta.schemas.errors import LaterError

if TYPE_CHECKING:
    from conftest import Bench  # pyright: ignore[reportMissingImports]

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts, Item

#: Longer than any test: whoever is asked is waited for.
PATIENT: dict[str, Any] = {"soft_deadline_ms": 60_000, "batch_records_max": 10}


async def test_batches_are_understood_while_one_before_asks(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(40)])
    asked: list[int] = []
    release = asyncio.Event()

    async def ask(batch: Batch[Item, Counts]) -> None:
        asked.append(batch.items[0].event_id)
        await release.wait()

    worker = bench.worker(ask=ask, batches_in_flight_max=3, **PATIENT)
    async with worker.running():
        await bench.eventually(lambda: len(asked) == 3)
        assert worker.committed == 0
        assert await bench.outputs() == []
        release.set()
        seen = await bench.until_output(40)
    assert asked == [0, 10, 20, 30]
    bench.check_exactly_once(seen, range(40))


async def test_an_answer_that_comes_early_waits_for_those_before_it(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(40)])
    release = asyncio.Event()
    answered: list[int] = []

    async def ask(batch: Batch[Item, Counts]) -> None:
        first = batch.items[0].event_id
        if first == 0:
            await release.wait()
        answered.append(first)

    worker = bench.worker(ask=ask, batches_in_flight_max=4, **PATIENT)
    async with worker.running():
        await bench.eventually(lambda: answered == [10, 20, 30])
        assert await bench.outputs() == []
        release.set()
        seen = await bench.until_output(40)
    assert [record.event["id"] for record in seen] == list(range(40))
    bench.check_exactly_once(seen, range(40))


async def test_a_batch_that_fails_takes_those_after_it_along(bench: Bench) -> None:
    await bench.send([(0, b"k%d" % (n % 3), b'{"id":%d}' % n) for n in range(50)])
    failures: list[int] = []
    tried: list[int] = []

    async def ask(batch: Batch[Item, Counts]) -> None:
        first = batch.items[0].event_id
        tried.append(first)
        if first == 10 and len(failures) < 2:
            await bench.eventually(lambda: {20, 30} <= set(tried))
            failures.append(first)
            raise LaterError("away")

    worker = bench.worker(ask=ask, batches_in_flight_max=4, **PATIENT)
    async with worker.running():
        seen = await bench.until_output(50)
    assert failures == [10, 10]
    assert tried.count(20) > 1, "what was understood after it was understood again"
    bench.check_exactly_once(seen, range(50))
    restored = bench.worker()
    async with restored.running():
        await bench.ready(restored)
        assert sum(sum(state.kept.values()) for state in restored.states) == 50


async def test_what_no_attempt_sees_through_is_isolated_among_its_neighbours(bench: Bench) -> None:
    await bench.send([(0, b"k", b'{"id":%d}' % n) for n in range(40)])

    async def ask(batch: Batch[Item, Counts]) -> None:
        if any(item.event_id == 13 for item in batch.items):
            raise LaterError("never")

    worker = bench.worker(ask=ask, batches_in_flight_max=4, **PATIENT)
    async with worker.running():
        seen = await bench.until_output(39)
        letters = await bench.deadletters()
    assert [letter.value for letter in letters] == [b'{"id":13}']
    assert [record.event["id"] for record in seen] == [n for n in range(40) if n != 13]


async def test_a_lane_that_is_taken_away_leaves_nothing_of_its_flights(bench: Bench) -> None:
    await bench.send([(n % 2, b"k%d" % (n % 2), b'{"id":%d}' % n) for n in range(200)])

    async def ask(batch: Batch[Item, Counts]) -> None:
        del batch
        await asyncio.sleep(0.02)

    first = bench.worker(ask=ask, batches_in_flight_max=4, **PATIENT)
    second = bench.worker(ask=ask, batches_in_flight_max=4, **PATIENT)
    async with first.running():
        await bench.eventually(lambda: first.committed >= 20)
        async with second.running():
            seen = await bench.until_output(200)
    bench.check_exactly_once(seen, range(200))
