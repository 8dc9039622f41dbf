"""Lets a conductor decide about events to the end, with people who say what a test lets them.

As in a lane an event that waits for a person is parked, goes on with the answer, and asks whom its
plan asks next; there is no broker, no clock, and nobody thinks.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batuta.agents.asking import Arrival, News
from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import second_turn
from batuta.agents.context import Context
from batuta.agents.state.parking import ParkingLot
from batuta.schemas.decision import Decision
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.review import StepAnswer, StepCase

if TYPE_CHECKING:
    from batuta.agents.questions import Answer, Question
    from batuta.schemas.errors import FailureKind
    from batuta.schemas.labels import LabelOutcome

__all__ = ["decided_with_people"]


async def decided_with_people(
    conductor: Conductor,
    events: Sequence[Ingested],
    said: Callable[[StepCase], float | None],
    now_ms: int = 0,
) -> list[Decision]:
    """Return one decision per event, in order.

    Args:
        conductor: of a pipeline that may ask people.
        events: to decide about.
        said: the score that a person gives to a case; None: their time was over.
        now_ms: the clock, which stands.
    """
    state, lot = conductor.open_state(), ParkingLot(b"p", steps_max=2 * len(events) + 2)
    context = Context(now_ms, 0, PartitionOf(1), state, parked=lot)
    items: Sequence[Ingested | LabelOutcome | StepAnswer] = events
    news: News[Question, Answer] = News()
    decisions: list[Decision] = []
    while items or news.arrivals:
        state.begin()
        question = conductor.understand(items, context)
        answer = await conductor.ask(question)
        state.changes(now_ms)
        state.commit()
        with second_turn((lot, *state.answer_tables), now_ms):
            concluded = conductor.conclude(question, answer, context, news)
        decisions += concluded.decisions
        items = [_answer(case, said(case)) for case in concluded.cases]
        news = News([Arrival(one, await conductor.ask(one)) for one in concluded.follow_ups])
    assert not lot.entries(), "somebody waits for what nobody is asked"
    place = {event.event_id: number for number, event in enumerate(events)}
    return sorted(decisions, key=lambda one: place[one.event_id])


def _answer(case: StepCase, score: float | None) -> StepAnswer:
    failure: FailureKind | None = "timeout" if score is None else None
    return StepAnswer(case.case_id, case.step_id, case.asked, score, failure, "told", 0)
