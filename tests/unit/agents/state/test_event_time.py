"""Event time: what is late does not depend on batches, and no watermark ever falls."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.battery import MOMENTS, Battery, Step, load_all
from batuta.agents.state.event_time import AFTER_ALL_MS, BEFORE_ALL_MS, EventClock, Watermarks
from batuta.schemas.errors import StateCorruptError, StateFullError

LATENESS_MS = 3
TIMES = st.integers(-20, 20)
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
MOMENT_STEPS = st.tuples(st.sampled_from(OFTEN), st.just(0))


def no_settling(model: object, now_ms: int) -> None:
    del model, now_ms


def clock() -> EventClock:
    return EventClock(b"c", LATENESS_MS)


def observe(table: EventClock, seen: list[int], times: list[int]) -> None:
    late: list[bool] = []
    for time in times:
        late.append(bool(seen) and time < max(seen) - LATENESS_MS)
        seen.append(time)
    assert table.observe(np.array(times, np.int64)).tolist() == late


def compare_clock(table: EventClock, seen: list[int]) -> None:
    assert table.watermark_ms == (max(seen) - LATENESS_MS if seen else BEFORE_ALL_MS)
    assert table.entries() == bool(seen)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(MOMENT_STEPS, st.tuples(st.just("write"), st.lists(TIMES, max_size=5))),
        min_size=20,
        max_size=50,
    )
)
def test_a_clock_answers_as_a_list_of_all_times_does(steps: list[Step[list[int]]]) -> None:
    Battery(clock, list[int], observe, no_settling, compare_clock).run(steps)


@given(st.lists(TIMES, max_size=30), st.integers(1, 7))
def test_what_is_late_does_not_depend_on_how_events_are_cut(times: list[int], size: int) -> None:
    whole, cut = clock(), clock()
    whole.begin()
    at_once = whole.observe(np.array(times, np.int64)).tolist()
    in_parts: list[bool] = []
    for start in range(0, len(times), size):
        cut.begin()
        in_parts += cut.observe(np.array(times[start : start + size], np.int64)).tolist()
        cut.changes(0)
    assert at_once == in_parts
    assert whole.watermark_ms == cut.watermark_ms


@given(st.lists(st.tuples(TIMES, st.integers(0, 9)), min_size=1, max_size=9))
def test_no_watermark_falls_though_more_lateness_is_allowed_after_a_restart(
    lives: list[tuple[int, int]],
) -> None:
    records, watermark_ms = list[tuple[bytes, bytes | None]](), BEFORE_ALL_MS
    for time, lateness_ms in lives:
        table = load_all(EventClock(b"c", lateness_ms), records)
        assert table.watermark_ms >= watermark_ms
        watermark_ms = table.watermark_ms
        table.begin()
        assert table.observe(np.array([time], np.int64)).tolist() == [time < watermark_ms]
        assert table.watermark_ms >= watermark_ms
        watermark_ms = table.watermark_ms
        table.changes(0)
        table.commit()
        records = list(table.dump())


def test_an_event_before_the_watermark_of_an_earlier_life_is_late() -> None:
    table = load_all(EventClock(b"c", 1_000), [(b"c", b"\x01" + 2 * (50).to_bytes(8, "big"))])
    table.begin()
    assert table.observe(np.array([49, 50], np.int64)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("key", "value"), [(b"x", None), (b"cc", None), (b"c", b"\x02" + bytes(16)), (b"c", b"\x01")]
)
def test_a_clock_refuses_what_it_does_not_know(key: bytes, value: bytes | None) -> None:
    with pytest.raises(StateCorruptError):
        clock().load(key, value)


UPSTREAMS = 3
NAMES = [f"lane-{number}" for number in range(UPSTREAMS)]
Told = tuple[str, int, bool]
Wait = int
HEARS = st.tuples(st.sampled_from(NAMES), TIMES, st.booleans())
WAITS = st.sampled_from([0, 10**9])


@dataclass
class Naive:
    told: dict[str, tuple[int, bool]] = field(default_factory=dict[str, tuple[int, bool]])
    minimum: int = BEFORE_ALL_MS


def tell(table: Watermarks, naive: Naive, step: Told | Wait) -> None:
    if isinstance(step, int):
        awake = [at for at, idle in naive.told.values() if not idle]
        if naive.told and (step == 0 or len(naive.told) == UPSTREAMS):
            reached = min(awake) if awake else max(at for at, _ in naive.told.values())
            naive.minimum = max(naive.minimum, reached)
        assert table.advance(5, UPSTREAMS, step) == naive.minimum
    else:
        name, at, idle = step
        table.hear(name, at, idle=idle)
        naive.told[name] = (max(at, naive.told.get(name, (at, idle))[0]), idle)


def compare_told(table: Watermarks, naive: Naive) -> None:
    assert table.watermark_ms == naive.minimum
    assert {name: table.get(name) for name in NAMES} == {
        name: naive.told.get(name) for name in NAMES
    }
    assert table.entries() == len(naive.told) + (naive.minimum != BEFORE_ALL_MS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(MOMENT_STEPS, st.tuples(st.just("write"), st.one_of(HEARS, WAITS))),
        min_size=20,
        max_size=60,
    )
)
def test_watermarks_answer_as_a_minimum_does(steps: list[Step[Told | Wait]]) -> None:
    Battery(lambda: Watermarks(b"m"), Naive, tell, no_settling, compare_told).run(steps)


def test_a_lane_never_heard_is_waited_for_as_long_as_was_said() -> None:
    table = Watermarks(b"m")
    table.begin()
    table.hear("a", 7)
    assert table.advance(now_ms=1_000, upstreams=2, idle_after_ms=50) == BEFORE_ALL_MS
    assert table.advance(now_ms=1_049, upstreams=2, idle_after_ms=50) == BEFORE_ALL_MS
    assert table.advance(now_ms=900, upstreams=2, idle_after_ms=50) == BEFORE_ALL_MS
    assert table.advance(now_ms=949, upstreams=2, idle_after_ms=50) == BEFORE_ALL_MS
    assert table.advance(now_ms=950, upstreams=2, idle_after_ms=50) == 7
    table.hear("b", 3)
    assert table.advance(now_ms=950, upstreams=2, idle_after_ms=50) == 7
    table.hear("a", AFTER_ALL_MS)
    table.hear("b", AFTER_ALL_MS)
    assert table.advance(now_ms=950, upstreams=2, idle_after_ms=50) == AFTER_ALL_MS


def test_a_lane_that_was_heard_is_waited_for_without_end() -> None:
    table = Watermarks(b"m")
    table.begin()
    table.hear("a", 7)
    table.hear("b", 3)
    table.advance(now_ms=0, upstreams=2, idle_after_ms=50)
    table.hear("a", 70)
    assert table.advance(now_ms=10**9, upstreams=2, idle_after_ms=50) == 3


def test_more_lanes_than_stated_are_refused() -> None:
    table = Watermarks(b"m", upstreams_max=1)
    table.begin()
    table.hear("a", 7)
    table.advance(0, 1, 0)
    with pytest.raises(StateFullError, match="watermarks"):
        table.hear("b", 7)


@pytest.mark.parametrize(
    ("key", "value"), [(b"xa", None), (b"ma", b"\x07" + bytes(9)), (b"ma", b"\x01" + bytes(8))]
)
def test_watermarks_refuse_what_they_do_not_know(key: bytes, value: bytes | None) -> None:
    with pytest.raises(StateCorruptError):
        Watermarks(b"m").load(key, value)
