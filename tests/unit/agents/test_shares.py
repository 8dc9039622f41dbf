"""Delayed shares answer as a naive recomputation does: late, corrected, rolled back or restored."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.understanding.shares import (
    EVENT,
    MARKED,
    UNMARKED,
    DelayedShares,
    ShareRule,
    share_names,
)
from batuta.schemas.errors import OursError
from batuta.schemas.pipeline_rules import ShareFeature

if TYPE_CHECKING:
    from random import Random

    from batuta.agents.state.port import Change
    from batuta.agents.understanding.shares import Taken

RULE = ShareRule((10, 60, 240), delay_ms=50, lateness_ms=80)
RETAINED_MS = 240 + 50 + 80

Item = tuple[str, int, int]
Row = tuple[list[float], bool]


@dataclass
class Naive:
    """Every item that ever came, looked through from the start for each event."""

    items: defaultdict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def take(self, key: str, time: int, kind: int) -> Row:
        items = self.items[key]
        newest = max((t for t, _ in items), default=time)
        expired = time <= max(newest, time) - RETAINED_MS
        if not expired:
            items.append((time, kind))
        if kind != EVENT:
            return [0.0] * 6, expired
        oldest = max(newest, time) - RETAINED_MS
        row: list[float] = []
        for width in RULE.windows_ms:
            end = time - RULE.delay_ms
            inside = [k for t, k in items if max(end - width, oldest) < t <= end]
            count, marks = sum(k == EVENT for k in inside), sum(inside)
            row += [count, min(max(marks / count, 0.0), 1.0) if count else 0.0]
        return row, expired


@dataclass
class Lane:
    """A table, its naive twin, and the compacted changelog of what was committed."""

    table: DelayedShares = field(default_factory=lambda: DelayedShares(b"r", RULE))
    naive: Naive = field(default_factory=Naive)
    log: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])


def taken(table: DelayedShares, batch: list[Item]) -> Taken:
    keys, times, kinds = [i[0] for i in batch], [i[1] for i in batch], [i[2] for i in batch]
    return table.take(keys, np.array(times, np.int64), np.array(kinds, np.int64))


def rows_of(table: DelayedShares, batch: list[Item]) -> list[Row]:
    found = taken(table, batch)
    return list(zip(found.features.tolist(), found.expired.tolist(), strict=True))


def restored(log: dict[bytes, bytes], order: Random) -> DelayedShares:
    table = DelayedShares(b"r", RULE)
    records = list(log.items())
    order.shuffle(records)
    for key, value in records:
        table.load(key, value)
    return table


def keep(lane: Lane, changes: list[Change]) -> None:
    for key, value in changes:
        if value is None:
            lane.log.pop(key, None)
        else:
            lane.log[key] = value


#: Mostly in order, often tied, sometimes late, sometimes far too late, sometimes far ahead.
STEPS_MS = st.sampled_from([0, 0, 0, 1, 1, 2, 5, 30, -3, -40, -90, -300, -400, 100, 350])
KINDS = st.sampled_from([EVENT, EVENT, EVENT, MARKED, MARKED, UNMARKED])
BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from("aaabbc"), STEPS_MS, KINDS), max_size=40),
        st.sampled_from(["commit", "commit", "rollback", "restore", "two open"]),
    ),
    max_size=12,
)


@given(BATCHES, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_answers_equal_a_recomputation_through_rollbacks_and_restores(
    batches: list[tuple[list[tuple[str, int, int]], str]], order: Random
) -> None:
    lane, now_ms = Lane(), 1_000
    for steps, fate in batches:
        batch: list[Item] = []
        for key, step_ms, kind in steps:
            batch.append((key, now_ms + step_ms, kind))
            now_ms = max(now_ms, now_ms + step_ms)
        if fate == "restore":
            lane.table = restored(lane.log, order)
        lane.table.begin()
        if fate == "rollback":
            taken(lane.table, [(key, time_ms + 120, kind) for key, time_ms, kind in batch])
            lane.table.rollback()
            lane.table.begin()
        half = len(batch) // 2 if fate == "two open" else 0
        found = rows_of(lane.table, batch[:half])
        if half:
            keep(lane, lane.table.changes(now_ms=0))
            lane.table.begin()
        found += rows_of(lane.table, batch[half:])
        assert found == [lane.naive.take(*item) for item in batch]
        keep(lane, lane.table.changes(now_ms=0))
        lane.table.commit()
        if half:
            lane.table.commit()


def test_a_window_ends_where_the_delay_begins_and_is_open_at_its_far_end() -> None:
    table = DelayedShares(b"r", ShareRule((10,), delay_ms=100))
    table.begin()
    taken(table, [("a", 0, EVENT), ("a", 0, MARKED), ("a", 10, EVENT)])
    asked = [("a", time, EVENT) for time in (99, 100, 109, 110, 119, 120)]
    assert [row for row, _ in rows_of(table, asked)] == [
        [0.0, 0.0],  # nothing is a hundred old
        [1.0, 1.0],  # the first is
        [1.0, 1.0],
        [1.0, 0.0],  # (0, 10]: the first is out, the second in
        [1.0, 0.0],
        [0.0, 0.0],
    ]


def test_an_event_that_nothing_was_heard_of_counts_as_not_marked() -> None:
    table = DelayedShares(b"r", ShareRule((100,), delay_ms=10))
    table.begin()
    taken(table, [("a", n, EVENT) for n in range(4)] + [("a", 2, MARKED)])
    assert taken(table, [("a", 20, EVENT)]).features.tolist() == [[4.0, 0.25]]


def test_a_corrected_label_counts_no_more() -> None:
    table = DelayedShares(b"r", ShareRule((100,), delay_ms=0))
    table.begin()
    taken(table, [("a", 5, EVENT), ("a", 5, MARKED), ("a", 5, UNMARKED)])
    assert taken(table, [("a", 6, EVENT)]).features.tolist() == [[2.0, 0.0]]


def test_a_label_whose_event_is_forgotten_has_expired() -> None:
    table = DelayedShares(b"r", ShareRule((10,), delay_ms=5, lateness_ms=0))
    table.begin()
    found = taken(table, [("a", 100, EVENT), ("a", 86, MARKED), ("a", 85, MARKED)])
    assert found.expired.tolist() == [False, False, True]


def test_more_entries_than_the_bound_are_refused() -> None:
    table = DelayedShares(b"r", ShareRule((10,), delay_ms=5, entries_max=3))
    table.begin()
    with pytest.raises(OursError, match="3 entries"):
        taken(table, [("a", n, EVENT) for n in range(4)])


def test_columns_are_named_in_order() -> None:
    share = ShareFeature(name="risk", by="till", of="theft", windows_ms=(3_600_000, 86_400_000))
    assert share_names(share) == (
        *("risk_delayed_count_1h", "risk_share_theft_1h"),
        *("risk_delayed_count_1d", "risk_share_theft_1d"),
    )
