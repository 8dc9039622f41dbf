"""Parked steps resume once, keep the order of their key, and are given up by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.battery import MOMENTS, Battery, load_all
from batuta.agents.state.parking import KINDS, Kind, ParkingLot, Step
from batuta.schemas.errors import StateCorruptError

if TYPE_CHECKING:
    from batuta.agents.state import battery

STEPS_MAX = 4
IDS, KEYS = ["1", "2", "3", "4", "ü"], ["", "k"]
Resume = tuple[Literal["resume"], str]
Free = tuple[Literal["free"], int]
Next = tuple[Literal["next"], str]
Expire = tuple[Literal["expire"], int, int]
Write = Step | Resume | Free | Next | Expire

TIMES = st.integers(-2, 9)
PARKS = st.builds(
    Step,
    st.sampled_from(IDS),
    st.sampled_from(KEYS),
    st.sampled_from(KINDS),
    TIMES,
    st.sampled_from([b"", b"payload"]),
)
OTHERS = st.one_of(
    st.tuples(st.just("resume"), st.sampled_from(IDS)),
    st.tuples(st.just("free"), st.integers(0, 3)),
    st.tuples(st.just("next"), st.sampled_from(KEYS)),
    st.tuples(st.just("expire"), TIMES, st.integers(0, 3)),
)
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(OFTEN), st.just(0)),
        st.tuples(st.just("write"), st.one_of(PARKS, PARKS, OTHERS)),
    ),
    min_size=20,
    max_size=60,
)


def opened() -> ParkingLot:
    return ParkingLot(b"p", steps_max=STEPS_MAX)


@dataclass
class Naive:
    steps: list[Step] = field(default_factory=list[Step])

    def blocked(self, key: str) -> bool:
        return any(step.key == key and step.kind == "model" for step in self.steps)

    def makes_way(self, kind: Kind) -> Step | None:
        people = [step for step in self.steps if step.kind == "human"]
        if kind == "human" and len(people) >= STEPS_MAX // 2:
            return people[0]
        return self.oldest() if len(self.steps) == STEPS_MAX else None

    def oldest(self) -> Step:
        return next(step for kind in KINDS for step in self.steps if step.kind == kind)

    def take(self, steps: list[Step]) -> list[Step]:
        self.steps = [step for step in self.steps if step not in steps]
        return steps


def park(lot: ParkingLot, naive: Naive, step: Step) -> None:
    if step.id in [each.id for each in naive.steps]:
        with pytest.raises(AssertionError, match="waits already"):
            lot.park(step)
    elif step.kind == "model" and naive.blocked(step.key):
        with pytest.raises(AssertionError, match="queue it"):
            lot.park(step)
    else:
        given_up = naive.makes_way(step.kind)
        naive.take([given_up] if given_up else [])
        assert lot.park(step) == given_up
        naive.steps.append(step)


def write(lot: ParkingLot, naive: Naive, step: Write) -> None:
    if isinstance(step, Step):
        park(lot, naive, step)
    elif step[0] == "resume":
        answered = [s for s in naive.steps if s.id == step[1] and s.kind != "queued"]
        ignored = lot.ignored
        assert lot.resume(step[1]) == (naive.take(answered)[0] if answered else None)
        assert lot.ignored == ignored + (not answered)
    elif step[0] == "expire":
        due = [s for s in naive.steps if s.kind != "queued" and s.deadline_ms <= step[1]]
        due.sort(key=lambda s: (s.deadline_ms, s.id.encode()))
        assert lot.expire(step[1], step[2]) == naive.take(due[: step[2]])
    else:
        queued = [s for s in naive.steps if s.kind == "queued" and not naive.blocked(s.key)]
        if step[0] == "free":
            assert lot.free(step[1]) == naive.take(queued[: step[1]])
        else:
            following = [s for s in queued if s.key == step[1]][:1]
            assert lot.take_next(step[1]) == next(iter(naive.take(following)), None)


def compare(lot: ParkingLot, naive: Naive) -> None:
    assert lot.entries() == len(naive.steps) == lot.steps_max - lot.room
    assert lot.has_free == any(s.kind == "queued" and not naive.blocked(s.key) for s in naive.steps)
    assert lot.counts() == {k: sum(s.kind == k for s in naive.steps) for k in KINDS}
    assert [lot.get(name) for name in IDS] == [
        next((s for s in naive.steps if s.id == name), None) for name in IDS
    ]
    for key in KEYS:
        assert lot.blocks(key) == any(s.key == key and s.kind != "human" for s in naive.steps)
    deadlines = [s.deadline_ms for s in naive.steps if s.kind != "queued"]
    assert lot.next_deadline() == min(deadlines, default=None)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_lot_answers_as_a_list_does_through_every_life_of_its_batches(
    steps: list[battery.Step[Write]],
) -> None:
    def settle(naive: Naive, now_ms: int) -> None:
        del naive, now_ms

    Battery(opened, Naive, write, settle, compare).run(steps)


def step(name: str, kind: Kind, key: str = "k") -> Step:
    return Step(name, key, kind, deadline_ms=100)


def test_an_event_put_back_keeps_its_place_and_costs_no_record() -> None:
    lot = opened()
    lot.begin()
    for each in (step("1", "model"), step("2", "queued"), step("3", "queued"), step("4", "queued")):
        lot.park(each)
    assert [key for key, _ in lot.changes(0)] == [b"p", b"p1", b"p2", b"p3", b"p4"]
    lot.begin()
    lot.resume("1")
    first, second = lot.free(limit=2)
    assert (first.id, second.id) == ("2", "3")
    lot.park(replace(first, kind="model"))
    lot.park(second)
    assert lot.free(limit=9) == []
    assert [key for key, _ in lot.changes(0)] == [b"p1", b"p2"]
    lot.begin()
    lot.resume("2")
    assert [each.id for each in lot.free(limit=9)] == ["3", "4"]


def test_at_the_bound_the_oldest_for_a_model_is_given_up_first_then_the_oldest_for_a_human() -> (
    None
):
    lot = opened()
    lot.begin()
    for each in (
        step("1", "human"),
        step("2", "model"),
        step("3", "queued"),
        step("4", "model", "other"),
    ):
        assert lot.park(each) is None
    given_up = [
        lot.park(step("5", "human")),
        lot.park(step("6", "model", "third")),
        lot.park(step("7", "queued", "third")),
        lot.park(step("8", "queued", "third")),
    ]
    assert [one and one.id for one in given_up] == ["2", "4", "6", "1"]
    assert [each.id for each in lot.free(limit=9)] == ["3", "7", "8"]
    assert lot.resume("2") is None


def test_people_fill_half_of_a_lot_and_then_the_one_that_waited_longest_for_them_is_given_up() -> (
    None
):
    """A case takes hours: were the lot full of them, nothing else could be asked meanwhile."""
    lot = opened()
    lot.begin()
    given_up = [lot.park(step(name, "human")) for name in ("1", "2", "3")]
    assert [one and one.id for one in given_up] == [None, None, "1"]
    assert (lot.people_max, lot.room) == (2, 2)


def test_where_all_are_queued_the_first_of_them_is_given_up() -> None:
    lot = opened()
    lot.begin()
    lot.park(step("1", "model"))
    given_up = [lot.park(step(name, "queued")) for name in ("2", "3", "4", "5")]
    assert given_up[-1] == step("1", "model")
    assert lot.park(step("6", "queued")) == step("2", "queued")


def test_nothing_waits_behind_a_human() -> None:
    lot = opened()
    lot.begin()
    lot.park(step("1", "human"))
    assert not lot.blocks("k")
    lot.park(step("2", "model"))
    assert lot.blocks("k")
    assert not lot.blocks("other")


def test_an_answer_resumes_once_restart_and_rollback_included() -> None:
    lot = opened()
    lot.begin()
    lot.park(step("1", "model"))
    lot.changes(0)
    lot.commit()
    lot.begin()
    assert lot.resume("1") == step("1", "model")
    assert lot.resume("1") is None
    assert lot.ignored == 1
    lot.changes(0)
    lot.rollback()
    assert lot.ignored == 0
    lot.begin()
    assert lot.resume("1") == step("1", "model")
    lot.changes(0)
    lot.commit()
    again = load_all(opened(), lot.dump())
    again.begin()
    assert again.resume("1") is None


GOOD = (
    "pü".encode(),
    b"\x01" + (7).to_bytes(8, "big") + b"\x02" + (9).to_bytes(8, "big") + b"\0\0\0\1" + b"kpay",
)

NEXT = (b"p", b"\x01" + (8).to_bytes(8, "big"))


def test_the_format_of_the_changelog_is_kept() -> None:
    lot = load_all(opened(), [NEXT, GOOD])
    assert lot.get("ü") == Step("ü", "k", "human", 9, b"pay")
    assert list(lot.dump()) == [NEXT, GOOD]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"x", GOOD[1]),
        (b"p\xff", GOOD[1]),
        (b"p", b"\x02" + NEXT[1][1:]),
        (b"p", NEXT[1][:-1]),
        (b"p1", b"\x07" + GOOD[1][1:]),
        (b"p1", GOOD[1].replace(b"\x02", b"\x09")),
        (b"p1", GOOD[1].replace(b"kpay", b"\xff")),
        (b"p1", GOOD[1].replace(b"kpay", b"")),
        (b"p1", GOOD[1][:9]),
    ],
)
def test_what_this_release_does_not_know_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(StateCorruptError):
        opened().load(key, value)
