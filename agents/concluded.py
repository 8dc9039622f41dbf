"""What a batch of the conductor's came to, and the rows of a question that are decided now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

import numpy as np

from batuta.agents.delegation.heard import Indexes
from batuta.agents.policy.names import Flags
from batuta.agents.questions import Answer, Question
from batuta.agents.recorded_answers import answers_about, corrections_about, results_about
from batuta.agents.selection.planner import selection_of
from batuta.agents.understanding.features import Features
from batuta.schemas.decision import CheckResult, Correction, ModelAnswer, Selection
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.ingested import Ingested
from batuta.schemas.json_rows import json_rows
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.review import StepAnswer, StepCase

__all__ = ["Concluded", "ToldRows", "digests_of", "done_of", "told_apart"]


@dataclass(frozen=True, slots=True)
class Concluded:
    """What a batch came to.

    Attributes:
        decisions: about its events, and about parked ones that were answered or given up.
        follow_ups: what is to be asked next, outside of any batch.
        cases: of events that wait for a person from now on.
        resumed, ignored: how many answers of people a step went on with, and how many none
            waited for.
    """

    decisions: DecisionColumns
    follow_ups: tuple[Question, ...] = ()
    cases: tuple[StepCase, ...] = ()
    resumed: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class ToldRows:
    """Some rows of a question that are decided now, and all that was heard of them."""

    question: Question
    rows: Indexes

    @property
    def whole(self) -> bool:
        """Whether they are all rows."""
        return len(self.rows) == len(self.question.events)

    @property
    def events(self) -> Sequence[Ingested]:
        """Their events."""
        events = self.question.events
        return events if self.whole else [events[row] for row in self.rows.tolist()]

    @property
    def features(self) -> Features:
        """What is understood of them."""
        return self.question.features if self.whole else self.question.features[self.rows]

    @property
    def selections(self) -> Sequence[Selection | None]:
        """The plan of each."""
        choices, work = self.question.choices, self.question.work
        if work is not None and (proposals := work.heard.proposals):
            cost = work.heard.planning_cost
            rows = self.rows.tolist()
            return [selection_of(choices[row], proposals, row, cost(row)) for row in rows]
        return choices if self.whole else [choices[row] for row in self.rows.tolist()]

    @property
    def versions(self) -> Mapping[str, str] | None:
        """Who was asked, by name; None where nobody was."""
        work = self.question.work
        return None if work is None else work.heard.versions

    def answers(self) -> list[tuple[ModelAnswer, ...]]:
        """Return what was answered about each."""
        work = self.question.work
        if work is None:
            return [()] * len(self.rows)
        return answers_about(work.heard, self.rows, work.reached.done)

    def checks(self) -> list[tuple[CheckResult, ...]]:
        """Return what checkpoints have found about each."""
        work = self.question.work
        return [()] * len(self.rows) if work is None else results_about(work.heard, self.rows)

    def corrections(self) -> list[tuple[Correction, ...]]:
        """Return what was tried where checkpoints did not let answers pass."""
        work = self.question.work
        if work is None or not work.heard.corrects:
            return [()] * len(self.rows)
        return corrections_about(work.heard, self.rows)

    def marked(self) -> list[bool]:
        """Return of each whether another answer than the intended one stands for it."""
        work = self.question.work
        if work is None:
            return [False] * len(self.rows)
        found: list[bool] = work.reached.marked[self.rows].tolist()
        return found


def told_apart(
    items: Sequence[Ingested | LabelOutcome | StepAnswer], *, asks_people: bool
) -> tuple[Sequence[StepAnswer], Sequence[Ingested | LabelOutcome]]:
    """Return people's answers, and everything else; where nobody is asked all is else."""
    if not asks_people:
        return (), cast("Sequence[Ingested | LabelOutcome]", items)
    told = [item for item in items if isinstance(item, StepAnswer)]
    return told, [item for item in items if not isinstance(item, StepAnswer)]


def done_of(question: Question, answer: Answer) -> Flags:
    """Return which rows nothing more is to be heard of; all, where asking failed."""
    return np.ones(len(question.events), np.bool_) if answer is None else answer.reached.done


def digests_of(events: Sequence[Ingested]) -> list[str]:
    """Return the hex digest of each event's payload."""
    return [sha256(written).hexdigest() for written in json_rows(event.data for event in events)]
