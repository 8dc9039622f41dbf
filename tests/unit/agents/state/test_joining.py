"""A join pairs once, gives out alone once, and knows what it has given out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.battery import MOMENTS, Battery
from batuta.agents.state.event_time import AFTER_ALL_MS
from batuta.agents.state.joining import Bounds, Item, Join, Joined, Side
from batuta.agents.state.port import Tables
from batuta.agents.state.timers import Timers
from batuta.schemas.errors import StateCorruptError, StateFullError

if TYPE_CHECKING:
    from batuta.agents.state.battery import Step

WITHIN_MS, REMEMBER_MS = 4, 3
BOUNDS = Bounds(WITHIN_MS, REMEMBER_MS)
SIDES: tuple[Side, ...] = ("left", "right")
OTHER: dict[Side, Side] = {"left": "right", "right": "left"}
Offer = tuple[Side, Item, int]
Watermark = int
Write = Offer | Watermark
Name = tuple[Side, str, str]

TIMES = st.integers(-2, 12)
ITEMS = st.builds(
    Item,
    st.sampled_from(["", "k", "1:k"]),
    st.sampled_from(["", "1", "2"]),
    TIMES,
    st.sampled_from([b"", b"v"]),
)
OFFERS = st.tuples(st.sampled_from(SIDES), ITEMS, TIMES)
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OFTEN), st.just(0)),
        st.tuples(st.just("write"), st.one_of(OFFERS, OFFERS, OFFERS, st.integers(0, 25))),
    ),
    min_size=20,
    max_size=60,
)


class Both(Tables):
    """A join and its timers, as the tables of a lane."""

    def __init__(self) -> None:
        self.timers = Timers(b"t", entries_max=100)
        self.join = Join(b"j", "test", self.timers, BOUNDS)
        super().__init__([self.join, self.timers])


@dataclass
class Known:
    item: Item
    became: Literal["waits", "paired", "alone"]
    call_ms: int


@dataclass
class Naive:
    known: dict[Name, Known] = field(default_factory=dict[Name, Known])

    def near(self, side: Side, item: Item, became: str) -> Known | None:
        found = [
            known
            for (at, key, _), known in self.known.items()
            if (at, key, known.became) == (side, item.key, became)
            and abs(known.item.event_time_ms - item.event_time_ms) <= WITHIN_MS
        ]
        return min(found, key=lambda each: (each.item.event_time_ms, each.item.id), default=None)

    def offer(self, side: Side, item: Item, watermark_ms: int) -> Joined:
        name: Name = (side, item.key, item.id)
        over = item.event_time_ms + WITHIN_MS + 1
        if name in self.known:
            return alone("duplicate", side, item)
        other = self.near(OTHER[side], item, "waits")
        if other is not None:
            other.became, other.call_ms = "paired", other.call_ms + REMEMBER_MS
            self.known[name] = Known(item, "paired", over + REMEMBER_MS)
            left, right = (item, other.item) if side == "left" else (other.item, item)
            return Joined("pair", left, right)
        if over <= watermark_ms or self.near(OTHER[side], item, "alone"):
            self.known[name] = Known(item, "alone", over + REMEMBER_MS)
            return alone("unmatched", side, item)
        self.known[name] = Known(item, "waits", over)
        return alone("waiting", side, item)

    def fire(self, watermark_ms: int) -> list[Joined]:
        given_out: list[Joined] = []
        for name, known in list(self.known.items()):
            if known.call_ms <= watermark_ms and known.became == "waits":
                known.became, known.call_ms = "alone", known.call_ms + REMEMBER_MS
                given_out.append(alone("partial", name[0], known.item))
            elif known.call_ms <= watermark_ms:
                del self.known[name]
        return given_out


def alone(
    verdict: Literal["duplicate", "unmatched", "waiting", "partial"], side: Side, item: Item
) -> Joined:
    return Joined(verdict, left=item) if side == "left" else Joined(verdict, right=item)


def fire(both: Both, watermark_ms: int) -> list[Joined]:
    firings = both.timers.due(now_ms=0, watermark_ms=watermark_ms, limit=100)
    return [joined for firing in firings if (joined := both.join.fired(firing)) is not None]


def write(both: Both, naive: Naive, step: Write) -> None:
    if isinstance(step, int):
        assert sorted(map(repr, fire(both, step))) == sorted(map(repr, naive.fire(step)))
    else:
        assert both.join.offer(*step) == naive.offer(*step)


def compare(both: Both, naive: Naive) -> None:
    assert both.join.entries() == len(naive.known) == both.timers.entries()
    assert both.join.waiting() == sum(known.became == "waits" for known in naive.known.values())
    calls = [known.call_ms for known in naive.known.values()]
    assert both.timers.next_due("event") == min(calls, default=None)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_join_answers_as_two_lists_do_through_every_life_of_their_batches(
    steps: list[Step[Write]],
) -> None:
    def settle(naive: Naive, now_ms: int) -> None:
        del naive, now_ms

    Battery(Both, Naive, write, settle, compare).run(steps)


@given(st.lists(st.tuples(st.sampled_from(SIDES), ITEMS), max_size=30))
def test_each_item_ends_in_one_pair_or_alone_once(offers: list[tuple[Side, Item]]) -> None:
    both = Both()
    both.begin()
    ended: list[Name] = []
    given_out: list[Joined] = []
    for side, item in offers:
        given_out.append(both.join.offer(side, item, watermark_ms=-100))
    given_out += fire(both, AFTER_ALL_MS - 1)
    for joined in given_out:
        if joined.verdict in {"pair", "partial", "unmatched"}:
            if joined.left is not None:
                ended.append(("left", joined.left.key, joined.left.id))
            if joined.right is not None:
                ended.append(("right", joined.right.key, joined.right.id))
    assert sorted(ended) == sorted({(side, item.key, item.id) for side, item in offers})
    fire(both, AFTER_ALL_MS)
    assert both.join.entries() == both.timers.entries() == 0


def test_a_side_that_comes_after_the_other_went_out_alone_is_unmatched() -> None:
    both = Both()
    both.begin()
    both.join.offer("left", Item("k", "e", 0, b"event"), watermark_ms=0)
    assert fire(both, 4) == []
    assert fire(both, 5) == [Joined("partial", left=Item("k", "e", 0, b"event"))]
    late = Item("k", "l", 3, b"label")
    assert both.join.offer("right", late, watermark_ms=5) == Joined("unmatched", right=late)
    assert both.join.offer("right", late, watermark_ms=5) == Joined("duplicate", right=late)
    assert fire(both, 7) == []
    assert both.join.entries() == 2
    assert fire(both, 8) == []
    assert both.join.entries() == 1


def test_a_timer_taken_out_before_its_item_paired_changes_nothing() -> None:
    both = Both()
    both.begin()
    left, right = Item("k", "e", 0), Item("k", "l", 3)
    both.join.offer("left", left, watermark_ms=0)
    firings = both.timers.due(now_ms=0, watermark_ms=5, limit=1)
    assert both.join.offer("right", right, watermark_ms=5) == Joined("pair", left, right)
    assert [both.join.fired(firing) for firing in firings] == [None]
    assert both.join.offer("left", left, watermark_ms=5) == Joined("duplicate", left=left)


def test_a_join_at_its_bound_names_itself() -> None:
    timers = Timers(b"t", entries_max=9)
    join = Join(b"j", "labels", timers, Bounds(1, 1, entries_max=1))
    for table in (timers, join):
        table.begin()
    join.offer("left", Item("k", "1", 0), 0)
    with pytest.raises(StateFullError, match="join labels holds 1"):
        join.offer("left", Item("k", "2", 0), 0)


def test_the_format_of_the_changelog_is_kept() -> None:
    records: list[tuple[bytes, bytes | None]] = [
        ("jl1:üe1".encode(), b"\x01\x01" + (5).to_bytes(8, "big") + b"value")
    ]
    both = Both()
    both.load(*records[0])
    assert list(both.dump()) == records
    both.begin()
    assert both.join.offer("right", Item("ü", "l1", 6), 0).left == Item("ü", "e1", 5, b"value")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"jx1:ke", b"\x01\x01" + bytes(8)),
        (b"jl9:ke", b"\x01\x01" + bytes(8)),
        (b"jl:ke", b"\x01\x01" + bytes(8)),
        (b"jl:ke", b"\x01\x02" + bytes(8)),
        (b"jl1:ke", b"\x01\x09" + bytes(8)),
        (b"jl1:ke", b"\x01\x01" + bytes(7)),
        (b"jl1:ke", b"\x05\x01" + bytes(8)),
    ],
)
def test_what_this_release_does_not_know_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(StateCorruptError):
        Both().load(key, value)
