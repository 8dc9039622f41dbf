"""People in plans: who waits for them, what their answer does, and what becomes of none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from batuta.agents.asking import OUTSTANDING, Arrival, News
from batuta.agents.asking_people import ANSWER_GRACE_MS
from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import second_turn
from batuta.agents.context import Context
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.people import Person
from batuta.agents.delegation.plans import Ask, Cascade, Fallback, Node, Sequence
from batuta.agents.delegation.terms import Terms
from batuta.agents.judging import Deciding
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Names
from batuta.agents.reasons import NoReasons
from batuta.agents.selection.choosing import Only
from batuta.agents.state.parking import ParkingLot
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation, Parking, Pipeline, Source, WindowFeature
from batuta.schemas.review import StepAnswer

if TYPE_CHECKING:
    from batuta.agents.concluded import Concluded
    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.questions import Question
    from batuta.schemas.errors import FailureKind
    from batuta.schemas.review import StepCase

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
ANALYST, SENIOR, MODEL = Ask("analyst", person=True), Ask("senior", person=True), Ask("oracle")
PEOPLE = {
    "analyst": Person("analyst", "fraud-review", 60_000),
    "senior": Person("senior", "seniors", 60_000),
}
SURE = Expression(
    "confidence > 0.95", Names({"score": "double", "confidence": "double"}), ("bool",)
)


class Oracle:
    """Answers 0.1; about the first of a batch, where that is set, something else."""

    name = "oracle"
    version = "oracle@000000000000"
    inputs: tuple[str, ...] = ("depot_count_1m",)

    def __init__(self) -> None:
        self.rows = 0
        self.score = 0.1
        self.first: float | None = None

    async def answer(self, inputs: Matrix) -> Scores:
        self.rows += len(inputs)
        scores = np.full(len(inputs), self.score)
        scores[:1] = self.score if self.first is None else self.first
        return scores


def parcel(name: str, depot: str = "d1") -> Ingested:
    data = {"parcel": name, "depot": depot}
    return Ingested(name, "s1", depot, 1_000, 7, "default", data, {"sender_count_1m": 1.0})


class Lane:
    """A scoring lane whose every batch is committed; its lot lives through restarts."""

    def __init__(self, plan: Node) -> None:
        self.model = Oracle()
        terms = {"analyst": Terms(2_500_000_000, "EUR")}
        delegating = Delegating({"only": plan}, Only("only"), terms, PEOPLE)
        self.conductor = Conductor(
            PARCELS, {"oracle": self.model}, NoReasons(), Deciding(delegating=delegating)
        )
        self.state = self.conductor.open_state()
        self.lot = ParkingLot(b"p", steps_max=PARCELS.parking.steps_max)
        self.now_ms = 0

    def batch(
        self,
        *items: Ingested | StepAnswer,
        late: bool = False,
        news: tuple[Question, ...] = (),
        revived: bool = False,
    ) -> tuple[Concluded, Question]:
        context = Context(self.now_ms, 3, PartitionOf(1), self.state, parked=self.lot)
        self.state.begin()
        question = self.conductor.understand(items, context)
        self.state.changes(self.now_ms)
        self.state.commit()
        answer = OUTSTANDING if late else asyncio.run(self.conductor.ask(question))
        arrivals = [Arrival(one, asyncio.run(self.conductor.ask(one))) for one in news]
        with second_turn((self.lot,), self.now_ms):
            concluded = self.conductor.conclude(question, answer, context, News(arrivals, revived))
        return concluded, question

    def restart(self) -> None:
        """Go on with what the changelog holds, and nothing else."""
        lot = ParkingLot(b"p", steps_max=PARCELS.parking.steps_max)
        for key, value in self.lot.dump():
            lot.load(key, value)
        self.lot = lot

    @property
    def waits(self) -> dict[str, int]:
        return {kind: count for kind, count in self.lot.counts().items() if count}


def said(
    case: StepCase, score: float | None = 0.8, failure: FailureKind | None = None
) -> StepAnswer:
    return StepAnswer(case.case_id, case.step_id, case.asked, score, failure, "ada: sure", 5_000)


def test_a_person_is_asked_by_a_case_and_the_event_is_decided_by_the_answer_once() -> None:
    lane = Lane(Cascade((MODEL, ANALYST), SURE))
    concluded, _ = lane.batch(parcel("a"))
    assert (concluded.decisions, concluded.follow_ups, lane.waits) == ([], (), {"human": 1})
    (case,) = concluded.cases
    assert (case.queue, case.asked, case.partition, case.due_at_ms) == (
        "fraud-review", "analyst", 3, 60_000,
    )  # fmt: skip
    assert (case.data, [a.score for a in case.answers]) == ({"parcel": "a", "depot": "d1"}, [0.1])
    lane.restart()
    concluded, _ = lane.batch(said(case), said(case, 0.1))
    (decision,) = concluded.decisions
    assert (decision.score, decision.outcome, concluded.resumed, concluded.ignored) == (
        0.8, "review", 1, 1,
    )  # fmt: skip
    told = decision.answers[-1]
    assert (told.name, told.model, told.evidence) == (
        "analyst",
        "analyst@fraud-review",
        "ada: sure",
    )
    assert (told.duration_ms, told.cost_nano, told.currency) == (5_000, 2_500_000_000, "EUR")
    assert lane.waits == {}
    assert lane.batch(said(case))[0].decisions == []
    assert lane.model.rows == 1, "the model is not asked again"


def test_nobody_waits_behind_an_event_that_waits_for_a_person() -> None:
    lane = Lane(Cascade((MODEL, ANALYST), SURE))
    lane.batch(parcel("a"))
    lane.model.score = 0.99
    assert [d.event_id for d in lane.batch(parcel("b"))[0].decisions] == ["b"]


def test_what_was_late_is_handed_to_a_person_when_its_model_has_answered() -> None:
    lane = Lane(Sequence((MODEL, ANALYST)))
    concluded, question = lane.batch(parcel("a"), parcel("b"), late=True)
    assert (concluded.cases, lane.waits) == ((), {"model": 1, "queued": 1})
    concluded, _ = lane.batch(news=(question,))
    assert [case.event_id for case in concluded.cases] == ["a", "b"]
    assert lane.waits == {"human": 2}
    assert lane.batch(news=(question,))[0].cases == (), "one case each, however often it arrives"
    decided, _ = lane.batch(*map(said, concluded.cases))
    assert [d.event_id for d in decided.decisions] == ["a", "b"]


def test_one_whose_turn_comes_is_asked_about_by_one_question_alone() -> None:
    """`b` was asked about while it was queued behind `a`: its person is asked once."""
    lane = Lane(Cascade((MODEL, ANALYST), SURE))
    _, first = lane.batch(parcel("a"), parcel("b"), late=True)
    lane.model.first = 0.99
    concluded, _ = lane.batch(news=(first,))
    assert [d.event_id for d in concluded.decisions] == ["a"]
    (second,) = concluded.follow_ups
    lane.model.first = None
    handed, _ = lane.batch(news=(second,))
    assert ([case.event_id for case in handed.cases], handed.follow_ups) == (["b"], ())
    again, _ = lane.batch(news=(first, second))
    assert (again.cases, again.follow_ups, lane.waits) == ((), (), {"human": 1})


def test_a_question_that_comes_late_does_not_ask_a_person_who_has_answered() -> None:
    lane = Lane(Sequence((ANALYST, MODEL)))
    _, stale = lane.batch(parcel("a"), late=True)
    (case,) = lane.batch(news=(stale,))[0].cases
    (further,) = lane.batch(said(case))[0].follow_ups
    stale.handed.clear()  # as another question about the same event
    assert lane.batch(news=(stale,))[0].cases == ()
    (decision,) = lane.batch(news=(further,))[0].decisions
    assert (decision.event_id, decision.answers[0].evidence) == ("a", "ada: sure")
    assert lane.waits == {}


def test_a_plan_goes_on_to_models_and_to_others_behind_a_person() -> None:
    lane = Lane(Fallback((ANALYST, SENIOR, MODEL)))
    (first,) = lane.batch(parcel("a"))[0].cases
    concluded, _ = lane.batch(said(first, None, "refused"))
    (second,) = concluded.cases
    assert (second.asked, second.queue, lane.waits) == ("senior", "seniors", {"human": 1})
    assert lane.batch(said(first))[0].ignored == 1, "the first was through, and waits for nobody"
    assert lane.waits == {"human": 1}
    concluded, _ = lane.batch(said(second, None, "timeout"))
    assert lane.waits == {"model": 1}
    lane.restart()
    (decision,) = lane.batch(news=concluded.follow_ups)[0].decisions
    assert (decision.score, decision.fallback) == (0.1, True)
    assert [(a.name, a.failure) for a in decision.answers] == [
        ("analyst", "refused"), ("senior", "timeout"), ("oracle", ""),
    ]  # fmt: skip


def test_a_plan_goes_on_behind_a_model_that_its_key_waits_for() -> None:
    lane = Lane(Fallback((ANALYST, MODEL)))
    (case,) = lane.batch(parcel("a"))[0].cases
    (other,) = lane.batch(parcel("b"))[0].cases
    to_ask = lane.batch(said(case, None, "refused"))[0].follow_ups
    assert lane.batch(said(other, None, "refused"))[0].follow_ups == ()
    assert lane.waits == {"model": 1, "queued": 1}
    concluded, _ = lane.batch(news=to_ask)
    assert [d.event_id for d in concluded.decisions] == ["a"]
    assert [d.event_id for d in lane.batch(news=concluded.follow_ups)[0].decisions] == ["b"]


def test_where_escalation_says_nothing_the_step_goes_on_by_itself_in_the_end() -> None:
    lane = Lane(Fallback((ANALYST, MODEL)))
    lane.batch(parcel("a"))
    lane.now_ms = 60_000 + ANSWER_GRACE_MS
    concluded, _ = lane.batch()
    (decision,) = lane.batch(news=concluded.follow_ups)[0].decisions
    assert [(a.name, a.failure) for a in decision.answers] == [
        ("analyst", "timeout"),
        ("oracle", ""),
    ]


def test_at_the_bound_the_one_that_waited_longest_goes_to_review_for_good() -> None:
    lane = Lane(ANALYST)
    concluded = [lane.batch(parcel(f"p{number}"))[0] for number in range(3)][-1]
    (decision,) = concluded.decisions
    assert (decision.event_id, decision.outcome, decision.reasons[0]) == (
        "p0", "review", "person_late",
    )  # fmt: skip
    assert lane.waits == {"human": 2}


def test_a_restart_asks_models_again_and_nobody_twice() -> None:
    lane = Lane(Sequence((MODEL, ANALYST)))
    lane.batch(parcel("a"))
    lane.restart()
    concluded, _ = lane.batch(revived=True)
    assert (concluded.follow_ups, concluded.cases, lane.waits) == ((), (), {"human": 1})
