"""Putting questions to models: what each is given of an event.

A model sees features, number fields, and what models before it have answered: `NAME.score` and
`NAME.confidence`. One that reads rows sees `event`, `event.FIELD`, `NAME.value` and `critique` too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

import numpy as np
import orjson

from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.heard import Heard, Indexes, Told
from batuta.agents.delegation.order import order_of
from batuta.agents.delegation.plans import Ask, Node, Planned, asked_model, models_of
from batuta.agents.delegation.reached import Flags
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.verifying import Verifier
from batuta.agents.delegation.work import Asking, Inputs, Work
from batuta.agents.models.port import CRITIQUE, AnyModel, Matrix, Model, reads_rows
from batuta.agents.questions import Question
from batuta.agents.selection.planner import BRIEFING, Planner
from batuta.agents.selection.understood import Choose, Understood
from batuta.agents.understanding.features import Features
from batuta.schemas.decision import ModelAnswer, Selection
from batuta.schemas.ingested import Ingested

__all__ = ["Delegation", "inputs_of"]

_EVENT: Final = "event"
#: What is read beside features and answers.
_TOLD: Final = frozenset({_EVENT, CRITIQUE})


def inputs_of(models: Iterable[AnyModel]) -> tuple[str, ...]:
    """Return the features that models see, each once: without what other models answer."""
    seen = (name for model in models for name in _sight(model))
    return tuple(dict.fromkeys(name for name in seen if "." not in name and name not in _TOLD))


class Delegation:
    """Makes work of questions, for one pipeline and its models.

    Attributes:
        chooser: picks the plans.
        spending: the budgets that calls are paid from; None where there are none.
        plans: those it may pick.
        people: who are asked as models are, by name.
        planner: who proposes plans beside these; None where nobody does.
        understood_by: who is asked before plans are chosen; None where nobody is.
    """

    def __init__(
        self, delegating: Delegating, models: Mapping[str, AnyModel], columns: Sequence[str]
    ) -> None:
        """Join plans, models and the columns of features."""
        self.chooser = delegating.chooser
        self.spending = delegating.spending
        self.plans = delegating.plans
        self._terms = delegating.terms
        self._stale_ms = delegating.stale_ms
        self._models = models
        self.people = delegating.people
        self.planner = delegating.planner
        self.understood_by = delegating.understood_by
        self._planners = () if self.planner is None else self.planner.turns
        versions = {
            name: one.version for name, one in (*models.items(), *delegating.people.items())
        }
        planners = {name: versions[asked_model(name)] for name in self._planners}
        # In the order in which plans ask, which is that of answers in records.
        first = () if self.understood_by is None else (self.understood_by,)
        plans = order_of([_static(one) for one in self.plans.values()])
        order = (*first, *planners, *plans, *versions)
        self._versions = {name: (versions | planners)[name] for name in order}
        self._places = {name: place for place, name in enumerate(columns)}

    def work(
        self,
        question: Question,
        features: Features,
        verifier: Verifier | None = None,
        choose: Choose | None = None,
    ) -> Work:
        """Return the work that a question is.

        Args:
            question: about which events; its choices are filled in as they are made.
            features: what models are shown.
            verifier: runs checkpoints.
            choose: chooses plans, where that is done by what a model answers.
        """
        heard = Heard(len(question.events), self._versions, self._planners)
        for row, answered in enumerate(question.answered):
            heard.give(row, answered)
        for row, tried in enumerate(question.tried):
            heard.give_trials(row, tried)
        events = question.events

        def inputs(model: str, rows: Indexes, heard: Heard) -> Inputs:
            return self._inputs(model, _Rows(events, features, rows, heard))

        asking = Asking(
            question.step_ids,
            question.patience_ms,
            verifier,
            question.payment,
            budgeted=self.spending is not None,
            understood=None if choose is None else self._understood(question, choose),
        )
        return Work(heard, self._parts(question), inputs, self._terms, asking)

    def stale(self, question: Question, now_ms: int) -> Flags | None:
        """Return whose features are too old to act on; None where none can be.

        What a person has answered is as good as the person, who saw how old it was.
        """
        work, understood_ms = question.work, question.understood_ms
        if self._stale_ms is None or understood_ms is None or work is None:
            return None
        old = now_ms - understood_ms > self._stale_ms
        return old & ~work.heard.answered_by(self.people)

    def recall(self, work: Work) -> None:
        """Bring back what was planned for parked events, for their records."""
        if self.planner is not None:
            work.look()

    def terms_of(self, name: str) -> Terms:
        """Return the terms on which one is asked."""
        return self._terms.get(name, Terms())

    def versions_of(
        self,
        selections: Sequence[Selection | None],
        answers: Sequence[tuple[ModelAnswer, ...]],
        versions: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the versions that answered about each event, or those of its plan where none did.

        Args:
            selections: which plan each event followed.
            answers: of the models that were asked.
            versions: of whoever asked; None for these models.
        """
        if self._planners:
            answers = [
                tuple(one for one in some if one.name not in self._planners) for some in answers
            ]
        asked = versions or self._versions
        return [
            some[0].model if len(some) == 1 else self._version_of(selection, some, asked)
            for selection, some in zip(selections, answers, strict=True)
        ]

    def _version_of(
        self,
        selection: Selection | None,
        answers: tuple[ModelAnswer, ...],
        versions: Mapping[str, str],
    ) -> str:
        if answered := dict.fromkeys(one.model for one in answers if not one.failure):
            return "+".join(answered)
        plan = self.plans.get("" if selection is None else selection.plan)
        asked = models_of(_static(plan or next(iter(self.plans.values()))), remedies=False)
        return "+".join(dict.fromkeys(versions[one] for one in asked))

    def _understood(self, question: Question, choose: Choose) -> Understood | None:
        """Return how the plans of a question are chosen, where a model is asked first."""
        if self.understood_by is None:
            return None
        choices = list(question.choices) or [None] * len(question.events)
        question.choices = choices
        return Understood(self.understood_by, choices, choose, self._node_of)

    def _node_of(self, choice: Selection) -> Node:
        # A plan that the file has no more, after a change of version, gives way to the first.
        node = self.plans.get(choice.plan) or next(iter(self.plans.values()))
        # Where a budget is nearly used up nobody plans: that costs as well.
        return _static(node) if choice.by == "budget" else node

    def _parts(self, question: Question) -> list[tuple[Node, Flags]]:
        if self.understood_by is not None:
            # All begin with the one; what they follow then is chosen on the way.
            nobody = np.zeros(len(question.events), np.bool_)
            later = [(node, nobody) for node in self.plans.values()]
            return [(Ask(self.understood_by), question.asked.copy()), *later]
        if len(self.plans) == 1:
            return [(next(iter(self.plans.values())), question.asked.copy())]
        rows: dict[tuple[str, bool], list[int]] = {}
        for row in np.flatnonzero(question.asked).tolist():
            choice = question.choices[row]
            assert choice is not None, "chosen before it is asked"
            rows.setdefault((choice.plan, choice.by == "budget"), []).append(row)
        parts: list[tuple[Node, Flags]] = []
        for chosen in rows.values():
            where = np.zeros(len(question.events), np.bool_)
            where[chosen] = True
            choice = question.choices[chosen[0]]
            assert choice is not None, "chosen before it is asked"
            parts.append((self._node_of(choice), where))
        return parts

    def _inputs(self, name: str, rows: "_Rows") -> Inputs:
        model = self._models[asked_model(name)]
        sight = _sight(model)
        if not reads_rows(model):
            return rows.matrix(sight, self._places)
        read: list[Mapping[str, object]] = [
            {path: rows.read(path, place, self._places) for path in sight}
            for place in range(len(rows.rows))
        ]
        if CRITIQUE in sight:
            read = rows.criticized(name, read)
        return self._briefed(name, read, rows) if name in self._planners else read

    def _briefed(
        self, name: str, read: list[Mapping[str, object]], rows: "_Rows"
    ) -> list[Mapping[str, object]]:
        """Return what a planner reads: beside the event its briefing, and what has failed."""
        assert self.planner is not None
        found: list[Mapping[str, object]] = []
        for place, row in enumerate(read):
            # Each has one of its own: a model is anybody's code, and may change what it is given.
            briefing = orjson.loads(self.planner.briefing)
            if name != self.planner.model:
                briefing |= rows.failed(self.planner, place)
            found.append({**row, BRIEFING: briefing})
        return found


class _Rows:
    """Some events as models see them."""

    def __init__(
        self, events: Sequence[Ingested], features: Features, rows: Indexes, heard: Heard
    ) -> None:
        self._events = events
        self._features = features
        self.rows = rows
        self._heard = heard

    def matrix(self, names: Sequence[str], places: Mapping[str, int]) -> Matrix:
        features, rows = self._features, self.rows
        if all(places.get(name) == place for place, name in enumerate(names)):
            plain = features[:, : len(names)]
            return (plain if len(rows) == len(features) else plain[rows]).astype(np.float32)
        columns = [
            features[rows, places[name]] if name in places else self._answered(name)
            for name in names
        ]
        return np.array(columns, np.float32).T.reshape(len(rows), len(names))

    def criticized(
        self, model: str, found: list[Mapping[str, object]]
    ) -> list[Mapping[str, object]]:
        """Return rows, each with what the model is told of the answer that it is to correct."""
        critiques = self._heard.of(model).critiques
        rows = zip(found, self.rows.tolist(), strict=True)
        return [{**values, CRITIQUE: critiques.get(row, "")} for values, row in rows]

    def read(self, path: str, place: int, places: Mapping[str, int]) -> object:
        row = int(self.rows[place])
        if path in places:
            return float(self._features[row, places[path]])
        head, _, field = path.partition(".")
        if head == _EVENT:
            data = self._events[row].data
            return data.get(field) if field else data
        if head == CRITIQUE:
            return ""
        told = self._heard.of(head)
        if field == "value":
            return told.values.get(row)
        return float(_column(told, field)[row])

    def failed(self, planner: Planner, place: int) -> dict[str, object]:
        """Return a planner's first plan, and which models have failed."""
        row = int(self.rows[place])
        told = self._heard.told.items()
        kinds = {name: one.failures[row] for name, one in told if row in one.failures}
        first = self._heard.proposals.turn(planner.model)[row]
        return {"failed": kinds, "planned": orjson.loads(first.text)}

    def _answered(self, name: str) -> Features:
        model, _, field = name.partition(".")
        return _column(self._heard.of(model), field)[self.rows]


def _static(node: Node) -> Node:
    return node.static if isinstance(node, Planned) else node


def _column(told: Told, field: str) -> Features:
    return told.scores if field == "score" else told.confidence


def _sight(model: AnyModel) -> tuple[str, ...]:
    return model.reads if reads_rows(model) else cast("Model", model).inputs
