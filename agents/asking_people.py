"""Asking people: the case that a parked step opens, and the answer that it goes on with.

A step that waits for a person knows which case it waits for: an answer to another one, as to that
of somebody whose time was over, is not for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson

from batuta.agents.delegation.heard import ASKED, Heard
from batuta.agents.delegation.people import Person
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import Work
from batuta.agents.identity import derived_id
from batuta.agents.models.answers import Answers
from batuta.agents.questions import Question
from batuta.agents.recorded_answers import answers_about
from batuta.agents.state.parking import Step
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.review import FailedAnswer, StepAnswer, StepCase

__all__ = [
    "ANSWER_GRACE_MS",
    "CaseWriter",
    "case_id_of",
    "hear",
    "heard_by",
    "late",
    "people_asked",
    "waits_for",
]

#: Escalation says when the time for a case is over. Where it says nothing for so long after, the
#: step goes on by itself.
ANSWER_GRACE_MS: Final = 60_000


def people_asked(work: Work | None, people: Mapping[str, Person]) -> dict[int, Person]:
    """Return the rows of some work that wait for a person, and for whom."""
    found: dict[int, Person] = {}
    if work is None:
        return found
    for name, person in people.items():
        told = work.heard.told.get(name)
        if told is not None:
            rows = np.flatnonzero((told.state == ASKED) & work.covered)
            found |= dict.fromkeys(rows.tolist(), person)
    return found


def case_id_of(person: Person, step_id: str, event_time_ms: int) -> str:
    """Return the id of the case that a step opens: the same over retry and replay."""
    return derived_id("step", person.name, step_id, str(event_time_ms))


def waits_for(step: Step) -> tuple[str, str]:
    """Return the case that a parked step waits for and the person who is asked; "" for none."""
    fields = orjson.loads(step.payload)
    case_id, asked = fields.get("waits_for", ("", ""))
    return str(case_id), str(asked)


def heard_by(step: Step) -> frozenset[str]:
    """Return whose answers a parked step goes on with, people's among them."""
    return frozenset(orjson.loads(step.payload).get("answers", ()))


def late(step: Step) -> StepAnswer:
    """Return what stands for the answer that did not come to a step."""
    case_id, asked = waits_for(step)
    return StepAnswer(case_id, step.id, asked, None, "timeout", "", 0)


def hear(heard: Heard, row: int, answer: StepAnswer, terms: Terms) -> None:
    """Take a person's answer, or that there is none."""
    if answer.asked not in heard.versions:
        return  # the file names them no more: the plan goes on as it is now
    rows = np.array([row], np.intp)
    if answer.score is None:
        heard.fail(answer.asked, rows, answer.failure or "refused", answer.waited_ms)
        return
    told = Answers(
        np.array([answer.score]),
        evidence=(answer.evidence,),
        cost_nano=terms.price_nano,
        currency=terms.currency,
    )
    heard.take(answer.asked, rows, told, answer.waited_ms)


@dataclass(frozen=True, slots=True)
class CaseWriter:
    """Writes the cases that parked steps open.

    Attributes:
        pipeline: whose steps they are.
        columns: the names of what models see.
        partition: of the lane.
        now_ms: the clock.
    """

    pipeline: Pipeline
    columns: Sequence[str]
    partition: int
    now_ms: int

    def write(self, question: Question, row: int, person: Person) -> StepCase:
        """Return the case of one row of a question."""
        event, step_id = question.events[row], question.step_ids[row]
        choice = question.choices[row] if question.choices else None
        heard = question.work.heard if question.work is not None else None
        rows = np.array([row], np.intp)
        return StepCase(
            case_id=case_id_of(person, step_id, event.event_time_ms),
            queue=person.queue,
            opened_at_ms=self.now_ms,
            due_at_ms=self.now_ms + person.sla_ms,
            asked=person.name,
            step_id=step_id,
            partition=self.partition,
            pipeline=self.pipeline.name,
            pipeline_version=self.pipeline.version,
            tenant=event.tenant,
            event_id=event.event_id,
            entity=event.entity,
            event_time_ms=event.event_time_ms,
            plan="" if choice is None else choice.plan,
            data=event.data,
            features=dict(zip(self.columns, question.features[row].tolist(), strict=False)),
            answers=answers_about(heard, rows)[0] if heard is not None else (),
            failed=_failed(heard, row, person) if heard is not None else None,
        )


def _failed(heard: Heard, row: int, person: Person) -> FailedAnswer | None:
    """Return the answer that a person is to correct; None where they are asked as a step is."""
    courses = (trials.courses.get(row) for trials in heard.trials.values())
    remedy = f"human:{person.name}"
    asking = (one for one in courses if one is not None and one.under_way)
    return next((one.shown for one in asking if one.remedy == remedy), None)
