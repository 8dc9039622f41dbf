"""Parking: a step that waits for a model or a human leaves its batch and resumes exactly once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import orjson
from prometheus_client import CollectorRegistry

from batuta.agents.state.parking import ParkingLot, Step
from batuta.schemas.record import Output
from batuta.streams.app import LaneApp
from batuta.streams.lanes.lane_testing import Item, decode, lane_settings
from batuta.streams.lanes.stage import NoState, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from conftest import Bench
    from faust.types import StreamT

    from batuta.streams.lanes.batch import Batch

DEADLINE_MS = 60_000


@dataclass
class AskingWorker:
    """Asks a model, or on ids from 1,000 a human, about each event, and puts the answer out.

    The second input carries human answers: the id of one is the id of the step it answers.

    Attributes:
        open: the model answers while it is set.
        asked: how often the model was asked about each event.
        large_id: the event whose output is large.
    """

    bench: Bench
    deadline_ms: int = DEADLINE_MS
    large_id: int = -1
    parked_max: int = 1_000
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        layout = self.bench.layout
        settings = lane_settings(self.bench.bootstrap, batch_records_max=10)
        self.registry = CollectorRegistry()
        self.app = LaneApp(settings, layout.topics, self.registry)
        stage = Stage(
            pipeline="lanes",
            name="asking",
            group=layout.group,
            inputs=layout.inputs,
            decode=decode,
            open_state=NoState,
            changelog=layout.changelog,
            deadletters=layout.deadletters,
            parked_max=self.parked_max,
            parks=layout.inputs[:1],
        )
        channel = self.app.lanes(stage)

        @self.app.agent(channel, name=layout.group, concurrency=self.app.concurrency(stage))
        async def ask(batches: StreamT[Batch[Item, NoState]]) -> None:
            async for batch in batches:
                async with batch:
                    await self._see_through(batch)

        del ask

    async def _ask(self, ids: Sequence[int]) -> list[int]:
        self.asked += ids
        if ids:
            await self.open.wait()
        return list(ids)

    async def _see_through(self, batch: Batch[Item, NoState]) -> None:
        events, *answers = self.bench.layout.inputs
        ids = [item.event_id for item in batch.items if item.record.topic == events]
        for_model = [event_id for event_id in ids if event_id < 1_000]
        answer = await batch.ask(for_model, self._ask(for_model))
        lot = batch.context.parked
        answered = [] if isinstance(answer, str) else answer
        late = [one for arrival in batch.news.arrivals for one in arrival.answer or ()]
        human = [item.event_id for item in batch.items if item.record.topic in answers]
        resumed = [one for one in (*late, *human) if lot.resume(str(one)) is not None]
        expired = [int(step.id) for step in lot.expire(batch.context.now_ms, 100)]
        for event_id in ids:
            if event_id not in answered:
                self._park(lot, event_id, batch.context.now_ms)
        if batch.news.revived:
            again = [int(step.id) for step in lot.waiting("model")]
            batch.ask_later(again, partial(self._ask, again))
        for event_id in (*answered, *resumed):
            self._put(batch, event_id, 1)
        for event_id in expired:
            self._put(batch, event_id, 0)

    def _park(self, lot: ParkingLot, event_id: int, now_ms: int) -> None:
        kind = "model" if event_id < 1_000 else "human"
        lot.park(Step(str(event_id), f"key {event_id}", kind, now_ms + self.deadline_ms))

    def _put(self, batch: Batch[Item, NoState], event_id: int, answered: int) -> None:
        filling = {"fill": "x" * 30_000} if event_id == self.large_id else {}
        value = orjson.dumps({"id": event_id, "count": answered, **filling})
        layout = self.bench.layout
        batch.forward(Output(layout.outputs, b"k", value, (), batch.context.partition))

    def metric(self, name: str) -> float:
        """Return a metric of the stage."""
        of_stage = {"pipeline": "lanes", "stage": "asking"}
        return self.registry.get_sample_value(name, of_stage) or 0.0

    async def __aenter__(self) -> Self:
        self.app.finalize()
        await self.app.start()
        self.app.flow_control.resume()
        await self.app.add_runtime_dependency(self.app.sources[0])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.sources[0].drain()
        await self.app.sources[0].stop()
        await self.app.stop()


async def _events(bench: Bench, ids: Sequence[int], topic: int = 0) -> None:
    rows = [(event_id % 2, b"k", b'{"id":%d}' % event_id) for event_id in ids]
    await bench.send(rows, topic=bench.layout.inputs[topic])


async def _ids(bench: Bench) -> list[tuple[int, int]]:
    return sorted((r.event["id"], r.event["count"]) for r in await bench.outputs())


async def _has(bench: Bench, count: int) -> bool:
    return len(await bench.outputs()) >= count


async def _has_read(bench: Bench, count: int) -> bool:
    return (await bench.committed())[bench.layout.inputs[0], 0] == count


async def test_a_slow_model_holds_nobody_and_its_answer_comes_later_once(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2)
    await _events(bench, range(20))
    async with AskingWorker(bench) as worker:
        await bench.eventually_async(bench.at_the_end)
        assert await bench.outputs() == [], "offsets were committed, answers were not there"
        worker.open.set()
        await bench.eventually_async(lambda: _has(bench, 20))
        await _events(bench, range(20, 30))
        await bench.eventually_async(lambda: _has(bench, 30))
    assert await _ids(bench) == [(n, 1) for n in range(30)]


async def test_late_answers_refused_together_for_their_size_are_written_in_smaller_batches(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2, output_bytes_max=200)
    await _events(bench, range(20))
    async with AskingWorker(bench) as worker:
        await bench.eventually_async(bench.at_the_end)
        worker.open.set()
        await bench.eventually_async(partial(_has, bench, 20))
    assert await _ids(bench) == [(event_id, 1) for event_id in range(20)]


async def test_a_late_answer_that_writes_too_much_is_buried_once_and_the_lane_goes_on(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2, output_bytes_max=20_000)
    await _events(bench, range(20))
    async with AskingWorker(bench, large_id=13) as worker:
        await bench.eventually_async(bench.at_the_end)
        worker.open.set()
        await bench.eventually_async(partial(_has, bench, 19))
        await _events(bench, [20, 21])
        await bench.eventually_async(partial(_has, bench, 21))
    async with AskingWorker(bench) as second:
        await _events(bench, [22])
        second.open.set()
        await bench.eventually_async(partial(_has, bench, 22))
    assert second.asked == [22], "the step of the answer that was buried is parked still"
    assert await _ids(bench) == [(n, 1) for n in range(23) if n != 13]
    (letter,) = await bench.deadletters()
    assert letter.event["id"] == 13
    assert letter.headers["batuta-deadletter-reason"] == b"output_too_large"


async def test_the_next_owner_asks_again_what_nobody_has_answered(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2)
    await _events(bench, range(10))
    async with AskingWorker(bench):
        await bench.eventually_async(bench.at_the_end)
    async with AskingWorker(bench) as second:
        await bench.eventually(lambda: len(second.asked) == 10)
        second.open.set()
        await bench.eventually_async(lambda: _has(bench, 10))
    async with AskingWorker(bench) as third:
        await _events(bench, [10])
        third.open.set()
        await bench.eventually_async(lambda: _has(bench, 11))
    assert third.asked == [10]
    assert await _ids(bench) == [(n, 1) for n in range(11)]


async def test_a_deadline_ends_the_waiting_and_a_later_answer_counts_no_more(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2)
    await _events(bench, range(4))
    async with AskingWorker(bench, deadline_ms=300) as worker:
        await bench.eventually_async(lambda: _has(bench, 4))
        worker.open.set()
        await _events(bench, [4])
        await bench.eventually_async(lambda: _has(bench, 5))
    assert await _ids(bench) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)]


async def test_a_human_answers_by_a_topic_once_whoever_owns_the_lane(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=2)
    await _events(bench, [1_000, 1_001, 1_002])
    async with AskingWorker(bench):
        await bench.eventually_async(bench.at_the_end)
    await _events(bench, [1_001, 1_001, 1_002, 1_777], topic=1)
    async with AskingWorker(bench):
        await bench.eventually_async(bench.at_the_end)
    async with AskingWorker(bench):
        await _events(bench, [1_000, 1_002], topic=1)
        await bench.eventually_async(bench.at_the_end)
    assert await _ids(bench) == [(1_000, 1), (1_001, 1), (1_002, 1)]


async def test_a_lane_whose_lot_is_full_reads_only_what_makes_room(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    """People's cases fill half of its lot, a slow model the other: the rest stays on Kafka."""
    bench = await make_bench(inputs=2, partitions=1)
    people, slow = list(range(1_000, 1_005)), list(range(15))
    await bench.send([(0, b"k", b'{"id":%d}' % one) for one in (*people, *slow)])
    async with AskingWorker(bench, parked_max=10) as worker:
        await bench.eventually_async(partial(_has_read, bench, 10))
        await bench.eventually(lambda: worker.metric("batuta_parking_ratio") == 1.0)
        answers = [(0, b"k", b'{"id":%d}' % one) for one in people]
        await bench.send(answers, topic=bench.layout.inputs[1])
        await bench.eventually_async(partial(_has_read, bench, 15))
        await bench.eventually(lambda: worker.metric("batuta_parking_ratio") == 1.0)
        worker.open.set()
        await bench.eventually_async(partial(_has, bench, 20))
        held_back_s = worker.metric("batuta_backpressure_seconds_total")
    assert held_back_s > 0
    assert await _ids(bench) == [(one, 1) for one in (*slow, *people)]


async def test_deadlines_make_room_where_no_model_answers(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(inputs=1, partitions=1)
    await bench.send([(0, b"k", b'{"id":%d}' % one) for one in range(30)])
    async with AskingWorker(bench, deadline_ms=300, parked_max=10) as worker:
        await bench.eventually_async(partial(_has, bench, 30))
        assert len(worker.asked) == 30
    assert await _ids(bench) == [(one, 0) for one in range(30)]
