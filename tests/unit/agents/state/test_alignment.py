"""Held records come out once, in the order of their event time, whichever input was faster."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.alignment import Held, HeldRecord
from batuta.agents.state.battery import MOMENTS, Battery
from batuta.agents.state.event_time import AFTER_ALL_MS, BEFORE_ALL_MS
from batuta.schemas.errors import StateCorruptError, StateFullError
from batuta.schemas.record import Record

if TYPE_CHECKING:
    from batuta.agents.state.battery import Step

RECORDS_MAX = 4
Naive = dict[tuple[int, int, int, int], HeldRecord]
Release = tuple[int, int]
Write = HeldRecord | Release

TIMES = st.integers(-5, 10)
MAYBE = st.one_of(st.none(), st.sampled_from([b"", b"bytes"]))
HEADERS = st.lists(st.tuples(st.sampled_from(["", "ü"]), st.sampled_from([b"", b"h"])), max_size=2)
RECORDS = st.builds(
    Record,
    st.sampled_from(["", "fraud.ingested"]),
    st.integers(0, 1),
    st.integers(0, 3),
    TIMES,
    MAYBE,
    MAYBE,
    HEADERS.map(tuple),
)
HELD = st.builds(HeldRecord, TIMES, st.integers(0, 1), RECORDS)
RELEASES = st.tuples(TIMES, st.integers(0, 3))
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OFTEN), st.just(0)),
        st.tuples(st.just("write"), st.one_of(HELD, HELD, RELEASES)),
    ),
    min_size=20,
    max_size=60,
)


def opened() -> Held:
    return Held(b"h", inputs=2, records_max=RECORDS_MAX)


def rank(held: HeldRecord) -> tuple[int, int, int, int]:
    return (held.event_time_ms, held.input, held.record.partition, held.record.offset)


def count(naive: Naive, order: int) -> int:
    return sum(held.input == order for held in naive.values())


def write(table: Held, naive: Naive, step: Write) -> None:
    if not isinstance(step, HeldRecord):
        ready = sorted((r for r in naive.values() if r.event_time_ms < step[0]), key=rank)
        assert table.release(*step) == ready[: step[1]]
        for held in ready[: step[1]]:
            del naive[rank(held)]
    elif rank(step) not in naive and count(naive, step.input) == RECORDS_MAX:
        with pytest.raises(StateFullError, match=r"held records holds 4 records of input [01]"):
            table.offer([step])
    else:
        table.offer([step])
        naive[rank(step)] = step


def compare(table: Held, naive: Naive) -> None:
    assert table.entries() == len(naive)
    assert [table.room(order) for order in (0, 1)] == [
        RECORDS_MAX - count(naive, order) for order in (0, 1)
    ]
    assert table.first_ms() == min((held.event_time_ms for held in naive.values()), default=None)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_held_records_answer_as_a_sorted_list_through_every_life_of_their_batches(
    steps: list[Step[Write]],
) -> None:
    def settle(naive: Naive, now_ms: int) -> None:
        del naive, now_ms

    Battery(opened, Naive, write, settle, compare).run(steps)


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=3, max_size=3), st.integers(0, 999)
)
def test_what_comes_out_does_not_depend_on_which_input_was_faster(
    times: list[list[int]], seed: int
) -> None:
    """Inputs in their own order, read turn by turn at random, each telling its watermark."""
    random = Random(seed)
    whole = [
        HeldRecord(time, order, Record(f"t{order}", 0, offset, 0, None, None))
        for order, row in enumerate(times)
        for offset, time in enumerate(sorted(row))
    ]
    table = Held(b"h", inputs=3, records_max=99)
    table.begin()
    waiting = [[held for held in whole if held.input == order] for order in range(3)]
    watermarks = [BEFORE_ALL_MS] * 3
    out: list[HeldRecord] = []
    while any(at != AFTER_ALL_MS for at in watermarks):
        order = random.randrange(3)
        if waiting[order]:
            held = waiting[order].pop(0)
            table.offer([held])
            watermarks[order] = held.event_time_ms
        else:
            watermarks[order] = AFTER_ALL_MS
        out += table.release(min(watermarks), limit=random.randrange(4))
    out += table.release(AFTER_ALL_MS, limit=99)
    assert out == sorted(whole, key=rank)


def test_a_record_that_is_held_already_takes_no_room() -> None:
    table = opened()
    table.begin()
    held = [HeldRecord(5, 0, Record("t", 0, offset, 0, None, None)) for offset in range(4)]
    table.offer(held)
    assert (table.room(0), table.room(1)) == (0, 4)
    table.offer(held)
    assert table.release(6, limit=9) == held


GOOD = HeldRecord(-5, 1, Record("t", 2, 3, 4, b"k", None, (("h", b"x"),)))


def good() -> tuple[bytes, bytes]:
    table = opened()
    table.begin()
    table.offer([GOOD])
    key, value = table.changes(0)[0]
    assert value is not None
    return key, value


def test_the_format_of_the_changelog_is_kept() -> None:
    assert good() == (
        b"h" + (2**63 - 5).to_bytes(8, "big") + b"\0\1" + b"\0\0\0\2" + (3).to_bytes(8, "big"),
        b"\x01" + (4).to_bytes(8, "big") + b"\0\0\0\1\0\0\0\1\xff\xff\xff\xff\0\0\0\1" + b"tk"
        b"\0\0\0\1\0\0\0\1hx",
    )


def test_damage_is_told() -> None:
    key, value = good()
    for bad_key, bad_value in (
        (b"x" + key[1:], value),
        (key[:-1], value),
        (key[:9] + b"\0\2" + key[11:], value),
        (key, b"\x07" + value[1:]),
    ):
        with pytest.raises(StateCorruptError):
            opened().load(bad_key, bad_value)
    for bad_value in (value[:-1], value[:20], value + b"x", value.replace(b"tk", b"\xffk")):
        table = opened()
        table.load(key, bad_value)
        table.begin()
        with pytest.raises(StateCorruptError):
            table.release(AFTER_ALL_MS, 1)
