"""Parking in the conductor: who waits, behind whom, and how each event ends in one decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.asking import OUTSTANDING, Arrival, News
from batuta.agents.conductor import Concluded, Conductor
from batuta.agents.conductor_testing import second_turn
from batuta.agents.context import Context
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import Ask, Fallback
from batuta.agents.delegation.work import put_call
from batuta.agents.judging import Deciding
from batuta.agents.reasons import NoReasons
from batuta.agents.state.parking import ParkingLot
from batuta.schemas.decision import Selection
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation, Parking, Pipeline, Source, WindowFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.agents.asking import Outstanding
    from batuta.agents.conductor_state import ConductorState
    from batuta.agents.delegation.work import Call, Work
    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.policy.event_rows import EventRows
    from batuta.agents.questions import Answer, Question
    from batuta.schemas.decision import Decision

PARCELS = Pipeline(
    name="parcels",
    version=1,
    source=Source(id_field="parcel", key_field="sender", time_field="at"),
    scoring_key_field="depot",
    ingestion_windows=(WindowFeature(name="sender", by="sender", windows_ms=(60_000,)),),
    scoring_windows=(WindowFeature(name="depot", by="depot", windows_ms=(60_000,)),),
    escalation=Escalation(queue="dispatch"),
    parking=Parking(deadline_ms=1_000, steps_max=5),
)


class Oracle:
    """A model that answers 0.1, whatever it is asked."""

    name = "oracle"
    version = "oracle@000000000000"
    inputs: tuple[str, ...] = ("depot_count_1m",)

    def __init__(self) -> None:
        self.rows = 0

    async def answer(self, inputs: Matrix) -> Scores:
        self.rows += len(inputs)
        return np.full(len(inputs), 0.1)


class Mute:
    """A second model, which is heard of when the test says so."""

    name = "mute"
    version = "mute@000000000000"
    inputs: tuple[str, ...] = ("depot_count_1m",)

    async def answer(self, inputs: Matrix) -> Scores:
        raise AssertionError(inputs)


class BySlowness:
    """Chooses the plan of both models for events called slow, that of the oracle for others."""

    names: frozenset[str] = frozenset()

    def choose(self, events: Sequence[Ingested], rows: EventRows) -> Sequence[Selection]:
        del rows
        plans = ["both" if event.event_id.startswith("slow") else "fast" for event in events]
        return [Selection(plan, "test", "", 1.0, {plan: 1.0}) for plan in plans]


#: A plan that needs nobody but the oracle, and one that falls back on it.
TWO = Delegating(
    {"fast": Ask("oracle"), "both": Fallback((Ask("mute"), Ask("oracle")))}, BySlowness()
)


class Halfway:
    """A driver that hears the oracle, and the mute one never."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.unheard: list[Call] = []

    async def drive(self, work: Work) -> None:
        while calls := work.due(0):
            for call in calls:
                if call.model == "mute":
                    self.unheard.append(call)
                else:
                    work.take(call, await put_call(self.oracle, call), 0)


def parcel(name: str, depot: str) -> Ingested:
    data = {"parcel": name, "depot": depot}
    return Ingested(name, "s1", depot, 1_000, 7, "default", data, {"sender_count_1m": 1.0})


class Lane:
    """A scoring lane whose every batch is committed; its lot lives through restarts."""

    def __init__(self, steps_max: int = PARCELS.parking.steps_max) -> None:
        self.model = Oracle()
        models = {"oracle": self.model, "mute": Mute()}
        self.conductor = Conductor(PARCELS, models, NoReasons(), Deciding(delegating=TWO))
        self.driver = self.conductor.driver = Halfway(self.model)
        self.state = self.conductor.open_state()
        self.lot = ParkingLot(b"p", steps_max=steps_max)
        self.now_ms = 0

    def _context(self) -> Context[ConductorState]:
        return Context(self.now_ms, 0, PartitionOf(1), self.state, parked=self.lot)

    def batch(
        self,
        *events: Ingested,
        late: bool = False,
        halfway: bool = False,
        news: News[Question, Answer] | None = None,
    ) -> tuple[Concluded, Question]:
        self.state.begin()
        question = self.conductor.understand(events, self._context())
        self.state.changes(self.now_ms)
        self.state.commit()
        answer: Answer | Outstanding = OUTSTANDING
        if not late:
            asked = asyncio.run(self.conductor.ask(question))
            answer = OUTSTANDING if halfway else asked
        with second_turn((self.lot,), self.now_ms):
            concluded = self.conductor.conclude(question, answer, self._context(), news or News())
        return concluded, question

    def answer(self, question: Question | None) -> Concluded:
        """Let the answer to a question arrive in a batch of its own."""
        assert question is not None
        scores = asyncio.run(self.conductor.ask(question))
        return self.batch(news=News((Arrival(question, scores),)))[0]


def ids(decisions: Sequence[Decision]) -> list[str]:
    return [decision.event_id for decision in decisions]


def test_what_is_not_answered_in_time_is_decided_when_the_answer_comes_and_once() -> None:
    lane = Lane()
    parked, question = lane.batch(parcel("a", "d1"), parcel("b", "d2"), late=True)
    assert parked.decisions == []
    assert lane.lot.counts() == {"model": 2, "human": 0, "queued": 0}
    assert ids(lane.answer(question).decisions) == ["a", "b"]
    assert lane.lot.entries() == 0
    assert lane.answer(question).decisions == []


def test_later_events_of_a_key_wait_behind_a_model_and_others_do_not() -> None:
    lane = Lane()
    _, question = lane.batch(parcel("a", "d1"), late=True)
    asked_before = lane.model.rows
    concluded, _ = lane.batch(parcel("b", "d1"), parcel("c", "d2"))
    assert ids(concluded.decisions) == ["c"]
    assert lane.model.rows == asked_before + 1, "nobody is asked about what has to wait"
    first = lane.answer(question)
    assert ids(first.decisions) == ["a"]
    assert ids(lane.answer(first.follow_ups[0]).decisions) == ["b"]


def test_events_of_one_key_in_one_late_batch_are_decided_together_in_order() -> None:
    lane = Lane()
    _, question = lane.batch(*(parcel(name, "d1") for name in "abc"), late=True)
    assert lane.lot.counts() == {"model": 1, "human": 0, "queued": 2}
    assert ids(lane.answer(question).decisions) == ["a", "b", "c"]


def test_at_the_deadline_a_person_decides_and_the_next_of_the_key_is_asked_about() -> None:
    lane = Lane()
    _, question = lane.batch(parcel("a", "d1"), late=True)
    lane.now_ms = 500
    lane.batch(parcel("b", "d1"))
    lane.now_ms = 1_000
    concluded, _ = lane.batch()
    assert ids(concluded.decisions) == ["a"]
    assert concluded.decisions[0].outcome == "review"
    assert concluded.decisions[0].reasons[0] == "model_late"
    assert ids(lane.answer(concluded.follow_ups[0]).decisions) == ["b"]
    assert lane.answer(question).decisions == [], "an answer after the deadline counts no more"


def test_the_deadline_is_of_the_event_not_of_each_thing_it_waits_for() -> None:
    lane = Lane()
    lane.batch(parcel("a", "d1"), parcel("b", "d1"), late=True)
    lane.now_ms = 1_000
    concluded, _ = lane.batch()
    assert ids(concluded.decisions) == ["a", "b"]
    assert {decision.reasons[0] for decision in concluded.decisions} == {"model_late"}
    assert not concluded.follow_ups, "nobody is asked about what is late"


def test_what_is_answered_is_decided_though_its_neighbours_are_not() -> None:
    lane = Lane()
    lane.batch(parcel("slow", "d1"), halfway=True)
    names = (("slow_2", "d2"), ("a", "d3"), ("b", "d2"), ("c", "d1"))
    concluded, question = lane.batch(*(parcel(*name) for name in names), halfway=True)
    assert ids(concluded.decisions) == ["a"], "b waits behind slow_2, c behind slow"
    assert lane.lot.counts() == {"model": 2, "human": 0, "queued": 2}
    assert question.work is not None
    question.work.fail(lane.driver.unheard[-1], "timeout")
    told = lane.answer(question)
    assert ids(told.decisions) == ["slow_2", "b"], "in the order of their key"
    first = told.decisions[0]
    assert [(one.name, one.failure) for one in first.answers] == [
        ("mute", "timeout"),
        ("oracle", ""),
    ]
    assert first.fallback


def test_of_a_long_line_each_is_asked_about_once() -> None:
    """More are free than leave the line in one batch; the others wait behind those."""
    lane = Lane(steps_max=9_000)
    _, first = lane.batch(parcel("a", "d1"), late=True)
    names = [f"b{number}" for number in range(4_500)]
    lane.batch(*(parcel(name, "d1") for name in names))
    told = lane.answer(first)
    decided, asked = ids(told.decisions), 0
    while told.follow_ups:
        assert lane.batch()[0].follow_ups == (), "what is asked about is not free"
        (follow_up,) = told.follow_ups
        asked += len(follow_up.events)
        told = lane.answer(follow_up)
        decided += ids(told.decisions)
    assert decided == ["a", *names]
    assert asked == len(names)


def test_at_the_bound_the_one_that_waited_longest_goes_to_a_person() -> None:
    lane = Lane()
    names = "abcdefg"
    concluded = [lane.batch(parcel(name, name), late=True)[0] for name in names]
    given_up = [ids(one.decisions) for one in concluded]
    assert given_up == [[], [], [], [], [], ["a"], ["b"]]
    assert concluded[-1].decisions[0].reasons[0] == "model_late"


def test_whoever_owns_the_lane_next_asks_again() -> None:
    lane = Lane()
    lane.batch(parcel("a", "d1"), parcel("b", "d1"), parcel("c", "d2"), late=True)
    successor = Lane()
    for key, value in lane.lot.dump():
        successor.lot.load(key, value)
    revived, _ = successor.batch(news=News(revived=True))
    assert revived.decisions == []
    assert revived.follow_ups[0] is not None
    answered = successor.answer(revived.follow_ups[0])
    assert ids(answered.decisions) == ["a", "c"]
    assert ids(successor.answer(answered.follow_ups[0]).decisions) == ["b"]
    assert successor.lot.entries() == 0


def test_the_same_event_again_waits_as_well_and_both_are_decided() -> None:
    lane = Lane()
    _, first = lane.batch(parcel("a", "d1"), late=True)
    lane.batch(parcel("a", "d1"))
    answered = lane.answer(first)
    assert ids(answered.decisions) == ["a"]
    assert ids(lane.answer(answered.follow_ups[0]).decisions) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError("it broke"), None])
def test_an_answer_that_is_none_lets_a_person_decide(error: Exception | None) -> None:
    lane = Lane()
    _, question = lane.batch(parcel("a", "d1"), late=True)
    concluded, _ = lane.batch(news=News((Arrival(question, None, error),)))
    assert [d.outcome for d in concluded.decisions] == ["review"]
    assert concluded.decisions[0].reasons[0] == "model_failed"


class Newer(Oracle):
    """The version that takes its place: it answers 0.2."""

    version = "oracle@111111111111"

    async def answer(self, inputs: Matrix) -> Scores:
        return await super().answer(inputs) + 0.1


def test_what_one_version_began_it_finishes_though_another_leads_since() -> None:
    lane = Lane()
    lane.conductor.control_offset = 3
    _, question = lane.batch(parcel("a", "d1"), late=True)
    old = lane.conductor
    answered = asyncio.run(old.ask(question))
    lane.conductor = Conductor(PARCELS, Newer(), NoReasons())
    lane.conductor.control_offset = 5
    done, _ = lane.batch(parcel("b", "d2"), news=News((Arrival(question, answered),)))
    told = {d.event_id: (d.score, d.model, d.control_offset) for d in done.decisions}
    assert told == {"a": (0.1, Oracle.version, 3), "b": (0.2, Newer.version, 5)}
    assert lane.state.control.offset == 5
    again = lane.conductor.open_state()
    for key, value in lane.state.dump():
        again.load(key, value)
    assert again.control.offset == 5


def test_a_question_that_is_asked_on_goes_to_whom_it_was_put_first() -> None:
    lane = Lane()
    _, question = lane.batch(parcel("a", "d1"), late=True)
    old = lane.conductor
    asyncio.run(old.ask(question))
    newer = Newer()
    asyncio.run(Conductor(PARCELS, newer, NoReasons()).ask(question))
    assert newer.rows == 0
