"""Timers fire once, in order, through layers, restart and clocks that jump back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.battery import MOMENTS, Battery, load_all
from batuta.agents.state.timers import DOMAINS, Firing, Timer, Timers
from batuta.schemas.errors import StateCorruptError, StateFullError

if TYPE_CHECKING:
    from batuta.agents.state.battery import Step

ENTRIES_MAX = 4
Naive = dict[tuple[str, str], Timer]
Due = tuple[int, int, int]
Write = Timer | Due | tuple[str, str]

KINDS, KEYS = ["a", "bb"], ["", "k", "ü"]
TIMES = st.integers(-3, 12)
TIMERS = st.builds(
    Timer,
    st.sampled_from(KINDS),
    st.sampled_from(KEYS),
    TIMES,
    st.sampled_from(DOMAINS),
    st.sampled_from([b"", b"payload"]),
)
CANCELS = st.tuples(st.sampled_from(KINDS), st.sampled_from(KEYS))
DUES = st.tuples(TIMES, TIMES, st.integers(1, 3))
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OFTEN), st.just(0)),
        st.tuples(st.just("write"), st.one_of(TIMERS, TIMERS, CANCELS, DUES)),
    ),
    min_size=20,
    max_size=60,
)


def opened() -> Timers:
    return Timers(b"t", entries_max=ENTRIES_MAX)


def rank(timer: Timer) -> tuple[int, int, bytes, bytes]:
    return (timer.due_ms, len(timer.kind.encode()), timer.kind.encode(), timer.key.encode())


def write(timers: Timers, naive: Naive, step: Write) -> None:
    if isinstance(step, Timer):
        name = (step.kind, step.key)
        if name not in naive and len(naive) == ENTRIES_MAX:
            with pytest.raises(StateFullError, match="timers"):
                timers.set(step)
        else:
            timers.set(step)
            naive[name] = step
    elif len(step) == 2:
        assert timers.cancel(*step) is (naive.pop(step, None) is not None)
    else:
        fire(timers, naive, step)


def fire(timers: Timers, naive: Naive, due: Due) -> None:
    reached = {"processing": due[0], "event": due[1]}
    ready = sorted((t for t in naive.values() if t.due_ms <= reached[t.domain]), key=rank)
    firings = timers.due(now_ms=due[0], watermark_ms=due[1], limit=due[2])
    assert firings == [
        Firing(t.kind, t.key, t.due_ms, t.domain, t.payload, at_ms=reached[t.domain])
        for t in ready[: due[2]]
    ]
    for firing in firings:
        del naive[firing.kind, firing.key]


def compare(timers: Timers, naive: Naive) -> None:
    for domain in DOMAINS:
        times = [timer.due_ms for timer in naive.values() if timer.domain == domain]
        assert timers.next_due(domain) == min(times, default=None)
    for kind in KINDS:
        for key in KEYS:
            assert timers.get(kind, key) == naive.get((kind, key))
    assert timers.entries() == len(naive)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_timers_answer_as_a_sorted_list_through_every_life_of_their_batches(
    steps: list[Step[Write]],
) -> None:
    def settle(naive: Naive, now_ms: int) -> None:
        del naive, now_ms

    Battery(opened, Naive, write, settle, compare).run(steps)


def test_a_clock_that_jumps_back_fires_nothing_twice() -> None:
    timers = opened()
    timers.begin()
    timers.set(Timer("call", "k", 10, "processing"))
    assert len(timers.due(now_ms=11, watermark_ms=0, limit=9)) == 1
    timers.changes(11)
    timers.commit()
    timers.begin()
    assert timers.due(now_ms=5, watermark_ms=0, limit=9) == []
    timers.changes(5)
    timers.begin()
    assert timers.due(now_ms=12, watermark_ms=0, limit=9) == []


def test_what_fired_in_a_batch_that_was_not_committed_fires_again_once() -> None:
    timers = opened()
    timers.begin()
    timers.set(Timer("call", "k", 10, "event", b"payload"))
    timers.changes(0)
    timers.commit()
    timers.begin()
    first = timers.due(now_ms=0, watermark_ms=10, limit=9)
    timers.changes(0)
    timers.begin()
    assert timers.due(now_ms=0, watermark_ms=10, limit=9) == []
    timers.rollback()
    timers.rollback()
    timers.begin()
    assert timers.due(now_ms=0, watermark_ms=10, limit=9) == first
    assert timers.due(now_ms=0, watermark_ms=10, limit=9) == []


GOOD = (b"t\x00\x01ak", b"\x01\x01" + (5).to_bytes(8, "big"))


def test_the_format_of_the_changelog_is_kept() -> None:
    timers = load_all(opened(), [GOOD])
    assert timers.get("a", "k") == Timer("a", "k", 5, "event")
    assert list(timers.dump()) == [GOOD]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"x\x00\x01ak", GOOD[1]),
        (b"t\x00", GOOD[1]),
        (b"t\x00\x01a\xff", GOOD[1]),
        (GOOD[0], b"\x07" + GOOD[1][1:]),
        (GOOD[0], b"\x01\x03" + GOOD[1][2:]),
        (GOOD[0], GOOD[1][:-1]),
    ],
)
def test_what_this_release_does_not_know_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(StateCorruptError):
        opened().load(key, value)
