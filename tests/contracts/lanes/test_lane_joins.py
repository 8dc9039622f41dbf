"""A join of two topics in a lane: by key, within a bound of event time, aligned in replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from batuta.agents.state.event_time import AFTER_ALL_MS
from batuta.agents.state.joining import Bounds, Item, Join, Joined
from batuta.agents.state.port import Tables
from batuta.agents.state.timers import Timers
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output
from batuta.schemas.watermark import Watermark, encode_watermark
from batuta.streams.app import LaneApp
from batuta.streams.lanes.lane_testing import Intake, decode, lane_settings
from batuta.streams.lanes.lane_testing import Item as Event
from batuta.streams.lanes.stage import EventTime, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from conftest import Bench
    from faust.types import StreamT

    from batuta.schemas.record import Record
    from batuta.streams.lanes.batch import Batch

WITHIN_MS = 100


class Pairing(Tables):
    """The state of the joining stage: the join, and the timers that end its waiting."""

    def __init__(self) -> None:
        self.timers = Timers(b"t", entries_max=10_000)
        self.join = Join(b"j", "sides", self.timers, Bounds(WITHIN_MS, remember_ms=WITHIN_MS))
        super().__init__((self.join, self.timers))


@dataclass
class JoiningWorker:
    """Joins the two inputs of a bench; an event's `at` is its event time."""

    bench: Bench
    replay: bool

    def __post_init__(self) -> None:
        layout = self.bench.layout
        self.app = LaneApp(
            lane_settings(self.bench.bootstrap, batch_records_max=7),
            layout.topics,
            CollectorRegistry(),
        )
        stage = Stage(
            pipeline="lanes",
            name="joining",
            group=layout.group,
            inputs=layout.inputs,
            decode=_decode,
            open_state=Pairing,
            changelog=layout.changelog,
            deadletters=layout.deadletters,
            event_time=EventTime(
                60_000,
                hears=dict.fromkeys(layout.inputs, 1),
                time_of=_time_of if self.replay else None,
            ),
        )
        channel = self.app.lanes(stage)

        @self.app.agent(channel, name=layout.group, concurrency=self.app.concurrency(stage))
        async def join(batches: StreamT[Batch[Event, Pairing]]) -> None:
            async for batch in batches:
                async with batch:
                    self._join(batch)

        del join

    def _join(self, batch: Batch[Event, Pairing]) -> None:
        state, watermark_ms = batch.context.state, batch.context.watermark_ms
        reached_ms = -1 if watermark_ms is None else watermark_ms
        for event in batch.items:
            side = "left" if event.record.topic == self.bench.layout.inputs[0] else "right"
            key = (event.record.key or b"").decode()
            item = Item(key, str(event.event_id), _time_of(event))
            self._put(batch, state.join.offer(side, item, reached_ms))
        for firing in batch.firings:
            joined = state.join.fired(firing)
            if joined is not None:
                self._put(batch, joined)

    def _put(self, batch: Batch[Event, Pairing], joined: Joined) -> None:
        if joined.verdict == "waiting":
            return
        ids = [0 if one is None else int(one.id) for one in (joined.left, joined.right)]
        value = orjson.dumps({"verdict": joined.verdict, "ids": ids})
        batch.forward(Output(self.bench.layout.outputs, b"k", value, (), batch.context.partition))

    async def __aenter__(self) -> None:
        self.app.finalize()
        await self.app.start()
        self.app.flow_control.resume()
        await self.app.add_runtime_dependency(self.app.sources[0])

    async def __aexit__(self, *_: object) -> None:
        await self.app.sources[0].drain()
        await self.app.sources[0].stop()
        await self.app.stop()


def _decode(records: Sequence[Record], now_ms: int) -> Intake:
    return decode(records, now_ms)


def _time_of(event: Any) -> int:
    return int(orjson.loads(event.record.value or b"")["at"])


async def _feed(bench: Bench, side: int, *events: tuple[str, int, int]) -> None:
    place = PartitionOf(bench.layout.partitions)
    rows = [
        (place(key.encode()), key.encode(), orjson.dumps({"id": event_id, "at": at}))
        for key, event_id, at in events
    ]
    await bench.send(rows, topic=bench.layout.inputs[side])


async def _tell(bench: Bench, side: int, time_ms: int) -> None:
    topic = bench.layout.inputs[side]
    lanes = range(bench.layout.partitions)
    await bench.forward([encode_watermark(Watermark(0, time_ms), topic, n) for n in lanes])


async def _verdicts(bench: Bench) -> list[tuple[str, int, int]]:
    """Return verdict, left id and right id of each output, 0 where a side is not there."""
    found = [orjson.loads(record.value or b"") for record in await bench.outputs()]
    return sorted((one["verdict"], *one["ids"]) for one in found)


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
async def test_sides_pair_once_or_are_given_out_alone_whoever_owns_the_lane(
    make_bench: Callable[..., Awaitable[Bench]],
    replay: bool,  # noqa: FBT001
) -> None:
    bench = await make_bench(inputs=2)
    await _feed(bench, 0, ("a", 1, 1_000), ("b", 2, 1_000), ("a", 1, 1_000), ("c", 3, 1_010))
    await _feed(bench, 1, ("a", 11, 1_090), ("c", 13, 1_500))
    async with JoiningWorker(bench, replay):
        await bench.eventually_async(bench.at_the_end)
    await _tell(bench, 0, 1_300)
    await _tell(bench, 1, 1_300)
    async with JoiningWorker(bench, replay):
        await bench.eventually_async(lambda: _has(bench, 4))
        await _tell(bench, 0, AFTER_ALL_MS)
        await _tell(bench, 1, AFTER_ALL_MS)
        await bench.eventually_async(lambda: _has(bench, 5))
    assert await _verdicts(bench) == [
        ("duplicate", 1, 0),
        ("pair", 1, 11),
        ("partial", 0, 13),
        ("partial", 2, 0),
        ("partial", 3, 0),
    ]


async def test_in_replay_the_inputs_meet_by_event_time_however_far_apart_they_are_read(
    make_bench: Callable[..., Awaitable[Bench]],
) -> None:
    bench = await make_bench(partitions=1, inputs=2)
    # Each label comes in time, but the labels of all events are read before the first event.
    events = [(f"k{n}", n, 10_000 * n) for n in range(60)]
    await _feed(bench, 1, *((key, 1_000 + n, at + WITHIN_MS) for key, n, at in events))
    await _tell(bench, 1, AFTER_ALL_MS)
    async with JoiningWorker(bench, replay=True):
        await bench.eventually_async(bench.at_the_end)
        await _feed(bench, 0, *events)
        await _tell(bench, 0, AFTER_ALL_MS)
        await bench.eventually_async(lambda: _has(bench, 60))
    assert await _verdicts(bench) == sorted(("pair", n, 1_000 + n) for n in range(60))


async def _has(bench: Bench, count: int) -> bool:
    return len(await bench.outputs()) >= count
