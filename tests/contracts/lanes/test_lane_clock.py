"""A worker's wall clock that jumps: transactions, timers, idleness and duplicates go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.state.timers import Timer
from batuta.agents.understanding.deduplication import Deduplication
from batuta.schemas.record import Output
from batuta.schemas.watermark import decode_watermark
from batuta.streams.lanes.stage import EventTime

if TYPE_CHECKING:
    from conftest import Bench

    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import CountingWorker, Counts, Item

HOUR_MS = 3_600_000
JUMPS_MS = (HOUR_MS // 2, -12 * HOUR_MS, 0, -24 * HOUR_MS, HOUR_MS // 2, 0)


class JumpingClock:
    """The wall clock as Python reads it, off by as much as a test says; the loop's is right.

    Timestamps of records are none of it: aiokafka takes them from the machine, below Python.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.skew_ms = 0
        seconds, nanoseconds = time.time, time.time_ns
        patch.setattr(time, "time", lambda: seconds() + self.skew_ms / 1_000)
        patch.setattr(time, "time_ns", lambda: nanoseconds() + self.skew_ms * 1_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> JumpingClock:
    """Jumps as a test says."""
    return JumpingClock(monkeypatch)


def remind(worker: CountingWorker, clock: JumpingClock, delay_ms: int) -> list[int]:
    """Let each event set a timer, each firing give an output, each third batch find a jump."""
    skews: list[int] = []

    async def think(batch: Batch[Item, Counts]) -> None:
        now_ms = batch.context.now_ms
        for item in batch.items:
            payload = b'{"id":%d,"count":0}' % (1_000_000 + item.event_id)
            key = str(item.event_id)
            timer = Timer("later", key, now_ms + delay_ms, "processing", payload)
            batch.context.timers.set(timer)
        for firing in batch.firings:
            assert firing.due_ms <= now_ms, "no timer fires before its time"
            batch.forward(Output(worker.layout.outputs, b"fired", firing.payload))
        fired = len(batch.firings)
        batch.after_commit(lambda: worker.note(fired))
        if batch.items:
            skews.append(clock.skew_ms)
            clock.skew_ms = JUMPS_MS[len(skews) // 3 % len(JUMPS_MS)]

    worker.think = think
    return skews


async def test_timers_fire_once_and_transactions_go_on(bench: Bench, clock: JumpingClock) -> None:
    ids = await bench.publish(600)
    worker = bench.worker(batch_records_max=20)
    skews = remind(worker, clock, 200)
    async with worker.running():
        await bench.eventually(lambda: len(skews) >= 30)
        await bench.eventually_async(bench.at_the_end)
        clock.skew_ms = max(JUMPS_MS) + 1_000  # what was set while it was ahead is due by then
        await bench.eventually(lambda: worker.committed >= 2 * len(ids))
        clock.skew_ms = 0
        assert worker.source.failure is None
        assert worker.metric("batuta_lane_restarts_total") == 0
        assert worker.metric("batuta_deadletters_total") == 0
    assert len(set(skews)) == len(set(JUMPS_MS)), "every jump was met"
    seen = await bench.outputs()
    bench.check_exactly_once([r for r in seen if r.key != b"fired"], ids)
    fired = sorted(r.event["id"] - 1_000_000 for r in seen if r.key == b"fired")
    assert fired == ids


async def test_a_lane_is_idle_though_its_clock_was_set_back(
    bench: Bench, clock: JumpingClock
) -> None:
    told = EventTime(300, tells=(bench.layout.deadletters,))
    behind = True

    async def set_back(_: Batch[Item, Counts]) -> None:
        if behind:
            clock.skew_ms = -12 * HOUR_MS  # before the lane can have been idle at all

    worker = bench.worker(set_back, event_time=told)
    await bench.send([(n, b"k%d" % n, b'{"id":1}') for n in range(2)])

    async def idle() -> list[int]:
        marks = map(decode_watermark, await bench.records(bench.layout.deadletters))
        return [mark.lane for mark in marks if mark.idle]

    async with worker.running():
        await bench.until_output(2)

        async def both_idle() -> bool:
            return set(await idle()) == {0, 1}

        await bench.eventually_async(both_idle)
        before, behind = len(await idle()), False
        # Set forward again, with an event: no longer idle, then idle once more.
        clock.skew_ms = 0
        await bench.send([(n, b"k%d" % n, b'{"id":2}') for n in range(2)])

        async def idle_again() -> bool:
            return len(await idle()) >= before + 4

        await bench.eventually_async(idle_again)


@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(-500, 500)), min_size=1, max_size=60)
)
def test_an_id_is_known_as_long_as_promised_less_the_jumps(steps: list[tuple[int, int]]) -> None:
    """Ten ids, a second per batch, a clock off by up to half a second either way."""
    table = Deduplication(b"d", 10_000, 100)
    seen_at: dict[int, int] = {}
    for second, (number, skew_ms) in enumerate(steps):
        now_ms = 1_000_000 + second * 1_000
        table.begin()
        (verdict,) = table.classify([f"{number}"], [b"x" * 16], now_ms + skew_ms)
        table.changes(now_ms + skew_ms)
        table.commit()
        if number in seen_at and now_ms - seen_at[number] < 10_000 - 1_000:
            assert verdict == "duplicate"
        if verdict == "new":
            seen_at[number] = now_ms
