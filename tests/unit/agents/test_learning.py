"""Labels find their events: in any order, corrected, repeated, unmatched; and where keys belong."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.context import Context
from batuta.agents.indexing import index_of
from batuta.agents.learning import Learning, Learnt
from batuta.agents.understanding.placing import partitions_of
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import EventIndex, Label, LabelOutcome
from batuta.schemas.partition import PartitionOf, murmur2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.agents.learning import LearningState

EXPIRE_MS = 1_000
INDEX = EventIndex(("e1", "e2"), ("default", "default"), ("t1", "t2"), (10, 20))


class Bench:
    """One lane of learning, without a lane."""

    def __init__(self) -> None:
        self.agent = Learning(EXPIRE_MS)
        self.state: LearningState = self.agent.open_state()

    def learn(self, items: Sequence[Label | EventIndex], now_ms: int = 100) -> Learnt:
        self.state.begin()
        learnt = self.agent.learn(items, Context(now_ms, 0, PartitionOf(1), self.state))
        self.state.changes(now_ms)
        self.state.commit()
        return learnt


def label(event_id: str, said: bool, time_ms: int, tenant: str = "default") -> Label:  # noqa: FBT001
    return Label(event_id, tenant, said, time_ms)


def outcome(said: bool, previous: bool | None, time_ms: int) -> LabelOutcome:  # noqa: FBT001
    return LabelOutcome("e1", "default", "t1", 10, said, previous, time_ms)


def test_a_label_goes_on_under_the_key_of_its_event() -> None:
    learnt = Bench().learn([INDEX, label("e1", True, 50)])
    assert learnt.outcomes == [outcome(True, None, 50)]
    assert not learnt.waiting


def test_a_label_that_comes_before_its_event_waits_for_it() -> None:
    bench = Bench()
    assert bench.learn([label("e1", True, 50)]) == Learnt(waiting=1)
    assert bench.learn([INDEX]).outcomes == [outcome(True, None, 50)]
    assert bench.learn([INDEX]).outcomes == []


def test_a_correction_says_what_it_corrects() -> None:
    bench = Bench()
    learnt = bench.learn([INDEX, label("e1", True, 50), label("e1", False, 60)])
    assert learnt.outcomes == [outcome(True, None, 50), outcome(False, True, 60)]


def test_a_correction_that_comes_before_the_event_replaces_the_label_that_waits() -> None:
    learnt = Bench().learn([label("e1", True, 50), label("e1", False, 60), INDEX])
    assert learnt.outcomes == [outcome(False, None, 60)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_labels_come_the_last_that_became_known_holds(
    order: tuple[int, ...],
) -> None:
    labels = [label("e1", True, 50), label("e1", False, 60), label("e1", True, 70)]
    bench, marks = Bench(), 0
    bench.learn([INDEX])
    for number in order:
        for one in bench.learn([labels[number]]).outcomes:
            marks += int(one.label) - int(bool(one.previous))
    assert marks == 1


def test_the_same_label_once_more_and_an_older_one_change_nothing() -> None:
    bench = Bench()
    bench.learn([INDEX, label("e1", True, 50)])
    assert bench.learn([label("e1", True, 50)]) == Learnt(repeated=1)
    assert bench.learn([label("e1", False, 40)]) == Learnt(outdated=1)


def test_a_label_whose_event_never_comes_is_put_aside_once() -> None:
    bench, lonely = Bench(), label("nobody", True, 50)
    bench.learn([lonely, INDEX, label("e1", True, 50)])
    assert bench.learn([], 100 + EXPIRE_MS - 1) == Learnt()
    assert bench.learn([], 100 + EXPIRE_MS) == Learnt(unmatched=[lonely])
    assert bench.learn([], 100 + 2 * EXPIRE_MS) == Learnt()
    assert bench.state.entries() == 0


def test_tenants_never_label_each_others_events() -> None:
    learnt = Bench().learn([INDEX, label("e1", True, 50, tenant="other")])
    assert (learnt.outcomes, learnt.waiting) == ([], 1)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40)), st.integers(1, 40))
def test_many_keys_are_placed_as_each_by_itself(keys: list[bytes], partitions: int) -> None:
    placed = partitions_of(keys, partitions).tolist()
    assert placed == [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), unique=True), st.integers(1, 5))
def test_the_index_says_of_every_event_once_where_labels_will_look(
    ids: list[str], partitions: int
) -> None:
    events = [Ingested(one, "c", f"t{n}", n, 0, "default", {}, {}) for n, one in enumerate(ids)]
    parts, place = list(index_of(events, partitions)), PartitionOf(partitions)
    said = [(one, part.partition) for part in parts for one in part.events.event_ids]
    assert sorted(said) == sorted((one, place(one.encode())) for one in ids)
    keys = {
        one: key
        for part in parts
        for one, key in zip(part.events.event_ids, part.events.scoring_keys, strict=True)
    }
    assert keys == {event.event_id: event.scoring_key for event in events}
