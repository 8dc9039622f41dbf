"""Windows answer as a naive recomputation does: late, tied, rolled back or restored."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.understanding.windows import AMOUNT_MAX, TrailingWindows
from batuta.schemas.errors import OursError, StateCorruptError

if TYPE_CHECKING:
    from batuta.agents.state.port import Change

WINDOWS_MS = (10, 60, 240)
LATENESS_MS = 80
RETAINED_MS = 240 + LATENESS_MS
STEP_MS = RETAINED_MS // 64

Seen = tuple[str, int, float]


@dataclass
class Naive:
    """Every entry that ever came, looked through from the start for each event."""

    entries: defaultdict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    seen_ms: dict[str, int] = field(default_factory=dict)

    def observe(self, key: str, time: int, amount: float) -> list[float]:
        entries, units = self.entries[key], round(amount * 10_000)
        newest = max((t for t, _ in entries), default=time)
        if time <= newest - RETAINED_MS:
            return [1.0, units / 10_000] * len(WINDOWS_MS)
        entries.append((time, units))
        oldest = max(newest, time) - RETAINED_MS
        row: list[float] = []
        for width in WINDOWS_MS:
            inside = [u for t, u in entries if max(time - width, oldest) < t <= time]
            row += [len(inside), sum(inside) / (len(inside) * 10_000)]
        return row

    def end(self, keys: set[str], now_ms: int) -> None:
        for key in keys:
            if self.entries[key]:
                self.seen_ms[key] = now_ms
        bound_ms = (now_ms // STEP_MS - 64) * STEP_MS
        for key in [k for k, seen in self.seen_ms.items() if seen < bound_ms and k not in keys]:
            del self.entries[key], self.seen_ms[key]


@dataclass
class Lane:
    """A table, its naive twin, and the compacted changelog of what was committed."""

    table: TrailingWindows
    naive: Naive = field(default_factory=Naive)
    log: dict[bytes, bytes] = field(default_factory=dict)

    def keep(self, changes: list[Change]) -> None:
        for key, value in changes:
            if value is None:
                self.log.pop(key, None)
            else:
                self.log[key] = value


def opened(**bound: int) -> TrailingWindows:
    return TrailingWindows(b"w", WINDOWS_MS, with_mean=True, lateness_ms=LATENESS_MS, **bound)


def observed(table: TrailingWindows, batch: list[Seen]) -> list[list[float]]:
    keys, times, amounts = [s[0] for s in batch], [s[1] for s in batch], [s[2] for s in batch]
    rows: list[list[float]] = table.observe(
        keys, np.array(times, np.int64), np.array(amounts, np.float64)
    ).tolist()
    return rows


def restored(log: dict[bytes, bytes], order: Random) -> TrailingWindows:
    table = opened()
    records = list(log.items())
    order.shuffle(records)
    for key, value in records:
        table.load(key, value)
    return table


def run(lane: Lane, batch: list[Seen], now_ms: int, *, commits: bool) -> list[Change]:
    table = lane.table
    table.begin()
    rows = observed(table, batch)
    changes = table.changes(now_ms)
    if not commits:
        table.rollback()
        return changes
    table.commit()
    lane.keep(changes)
    assert rows == [lane.naive.observe(*seen) for seen in batch]
    lane.naive.end({key for key, _, _ in batch}, now_ms)
    return changes


AMOUNTS = st.floats(min_value=0, max_value=1e6).map(lambda amount: round(amount, 3))
#: Mostly in order, often tied, sometimes late, sometimes far too late, sometimes far ahead.
STEPS_MS = st.sampled_from([0, 0, 0, 1, 1, 2, 5, 30, -3, -40, -90, -300, 100, 350])
BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from("aaabbc"), STEPS_MS, AMOUNTS), max_size=40),
        st.sampled_from([0, 1, 3, 50, 400]),
        st.sampled_from(["commit", "commit", "commit", "rollback", "restore"]),
    ),
    max_size=14,
)


@given(BATCHES, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_answers_equal_a_recomputation_through_rollbacks_and_restores(
    batches: list[tuple[list[tuple[str, int, float]], int, str]], order: Random
) -> None:
    lane, event_ms, now_ms = Lane(opened()), 1_000, 1_000_000
    for steps, pause_ms, fate in batches:
        now_ms += pause_ms
        batch: list[Seen] = []
        for key, step_ms, amount in steps:
            batch.append((key, event_ms + step_ms, amount))
            event_ms = max(event_ms, event_ms + step_ms)
        if fate == "rollback":
            ahead = [(key, time_ms + 120, amount) for key, time_ms, amount in batch]
            run(lane, ahead, now_ms, commits=False)
            expected = run(Lane(restored(lane.log, order)), batch, now_ms, commits=False)
            assert run(lane, batch, now_ms, commits=True) == expected
        elif fate == "restore":
            expected = run(Lane(restored(lane.log, order)), batch, now_ms, commits=False)
            assert run(lane, batch, now_ms, commits=True) == expected
            lane = Lane(restored(lane.log, order), lane.naive, lane.log)
        else:
            run(lane, batch, now_ms, commits=True)
        held = sum(
            1
            for entries in lane.naive.entries.values()
            for t, _ in entries
            if t > max(u for u, _ in entries) - RETAINED_MS
        )
        assert restored(lane.log, order).entries() >= held
        lane.table.begin()
        assert lane.table.entries() == held
        lane.table.rollback()


def test_of_equal_times_the_later_arrival_sees_the_earlier_one() -> None:
    table = opened()
    table.begin()
    rows = observed(table, [("a", 100, 1.0), ("a", 100, 3.0), ("a", 99, 5.0), ("a", 100, 7.0)])
    assert [row[0] for row in rows] == [1.0, 2.0, 1.0, 4.0]
    assert [row[1] for row in rows] == [1.0, 2.0, 5.0, 4.0]


def test_a_window_is_open_at_its_far_end_and_closed_at_the_present() -> None:
    table = TrailingWindows(b"w", (10,), with_mean=False)
    table.begin()
    rows = table.observe(["a"] * 3, np.array([0, 10, 19]), np.zeros(3))
    assert rows.tolist() == [[1.0], [1.0], [2.0]]


def test_a_mean_does_not_depend_on_the_order_of_arrival() -> None:
    amounts = [0.1, 1e8, 0.2, 12_345.6789, 0.3]
    means: set[float] = set()
    for turn in range(len(amounts)):
        table = opened()
        table.begin()
        turned = amounts[turn:] + amounts[:turn]
        means.add(observed(table, [("a", 5, amount) for amount in turned])[-1][1])
    assert means == {1_000_123_462_789 / 50_000}


def test_changes_are_the_touched_chunks_of_the_touched_keys_alone() -> None:
    lane = Lane(opened())
    run(lane, [(key, n, 1.0) for n in range(40) for key in "ab"], 0, commits=True)
    assert len(lane.log) == 6
    changes = run(lane, [("a", 40, 1.0)], 1, commits=True)
    assert len(changes) == 1
    assert changes[0][1] is not None
    assert len(changes[0][1]) < 300


def test_chunks_that_no_window_reaches_are_ended() -> None:
    lane = Lane(opened())
    run(lane, [("a", n, 1.0) for n in range(40)], 0, commits=True)
    changes = run(lane, [("a", 10_000, 1.0)], 1, commits=True)
    assert [value is None for _, value in changes] == [True, True, False]
    assert lane.table.entries() == 1


def test_a_key_that_nobody_names_any_more_is_forgotten_whole() -> None:
    lane = Lane(opened())
    run(lane, [("a", 5, 1.0), ("b", 5, 1.0)], 0, commits=True)
    run(lane, [("b", 6, 1.0)], 2 * RETAINED_MS, commits=True)
    assert list(lane.log) == [b"w" + bytes(8) + b"b"]
    assert lane.table.entries() == 2


def test_more_entries_than_the_bound_are_refused_and_can_be_rolled_back() -> None:
    table = opened(entries_max=10)
    table.begin()
    with pytest.raises(OursError, match="10 entries"):
        observed(table, [("a", n, 1.0) for n in range(11)])
    table.rollback()
    table.begin()
    assert table.entries() == 0
    assert observed(table, [("a", 3, 2.0)]) == [[1.0, 2.0] * 3]


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), AMOUNT_MAX * 2])
def test_an_amount_that_cannot_be_summed_stops_the_batch(amount: float) -> None:
    table = opened()
    table.begin()
    with pytest.raises(OursError, match="amount"):
        observed(table, [("a", 1, amount)])


def test_many_keys_and_many_entries_grow_the_table() -> None:
    lane = Lane(opened())
    batch = [(f"k{n % 3_000}", n // 3_000, float(n)) for n in range(30_000)]
    run(lane, batch, 0, commits=True)
    assert lane.table.entries() == 30_000
    assert restored(lane.log, Random(1)).entries() == 30_000


CHUNK_KEY = b"w" + bytes(8) + b"a"


def chunk() -> bytes:
    lane = Lane(opened())
    run(lane, [("a", 1, 1.0), ("a", 2, 1.0)], 0, commits=True)
    return lane.log[CHUNK_KEY]


@pytest.mark.parametrize(
    ("key", "begin", "end", "instead"),
    [
        (CHUNK_KEY, 0, 1, b"\x02"),
        (CHUNK_KEY, 1, 2, b"\x00"),
        (CHUNK_KEY, 2, 3, b"\x01"),
        (CHUNK_KEY, 47, 48, b""),
        (CHUNK_KEY, 48, 48, bytes(8)),
        (CHUNK_KEY, 0, 48, b""),
        (b"x" + bytes(8) + b"a", 0, 0, b""),
        (b"w" + bytes(7), 0, 0, b""),
    ],
)
def test_a_record_of_unknown_version_or_shape_is_refused(
    key: bytes, begin: int, end: int, instead: bytes
) -> None:
    value = chunk()
    assert len(value) == 48
    with pytest.raises(StateCorruptError):
        opened().load(key, value[:begin] + instead + value[end:])


@pytest.mark.parametrize("name", [b"\xff", b"a"])
def test_a_name_that_is_none_or_a_gap_between_chunks_is_refused(name: bytes) -> None:
    table = opened()
    table.load(b"w" + bytes(8) + name, chunk())
    table.load(b"w" + bytes(7) + b"\x02" + name, chunk())
    with pytest.raises(StateCorruptError):
        table.begin()


def test_what_is_rolled_back_keeps_no_chunk_alive() -> None:
    lane = Lane(opened())
    run(lane, [("a", n, 1.0) for n in range(5)], 0, commits=True)
    run(lane, [("a", 500, 1.0)], 0, commits=False)
    run(lane, [("a", n, 1.0) for n in range(5, 21)], 0, commits=True)
    changes = run(lane, [("a", 20 + RETAINED_MS, 1.0)], 0, commits=True)
    assert [value is None for _, value in changes] == [True, False]
