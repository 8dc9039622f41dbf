"""Work: the events of a batch, the plan of each, and what was heard of the models so far.

Whoever drives it asks what is due, asks the models, and gives back what they said, until nothing is
due and nothing outstanding. `done` rows can be decided meanwhile; `rest` is the work that remains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np

from batuta.agents.delegation.heard import Heard, Indexes
from batuta.agents.delegation.plans import Node
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.walking import Flags, Reached, Walk
from batuta.agents.models.answers import Answers, answers_of
from batuta.agents.models.port import AnyModel, Matrix, Model, RowModel
from batuta.schemas.errors import FailureKind, LaterError, ModelFailedError, OursError

__all__ = ["Call", "Driver", "InTurn", "Inputs", "Work", "put_call"]

#: What a model is given about some rows: a matrix, or named values.
Inputs = Matrix | list[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Call:
    """One model, asked once about some rows."""

    model: str
    rows: Indexes
    inputs: Inputs


class Work:
    """The delegation of one batch.

    Attributes:
        heard: of the models so far.
        plans: each plan, and the rows that follow it.
        inputs_of: what a model is given about some rows.
        terms: of each model, by name.
    """

    def __init__(
        self,
        heard: Heard,
        plans: list[tuple[Node, Flags]],
        inputs_of: Callable[[str, Indexes, Heard], Inputs],
        terms: Mapping[str, Terms] | None = None,
    ) -> None:
        self.heard = heard
        self.plans = plans
        self.inputs_of = inputs_of
        self.terms = terms or {}
        self.next_ms: int | None = None
        self.reached = _blank(heard.rows)
        self.covered = np.zeros(heard.rows, np.bool_)
        for _, where in plans:
            self.covered |= where

    @property
    def done(self) -> bool:
        """Whether nothing more is to be heard of any row."""
        return bool(self.reached.done[self.covered].all())

    def due(self, elapsed_ms: int) -> list[Call]:
        """Walk the plans; return the calls to make now, and note that they are made."""
        walk = Walk(self.heard, elapsed_ms)
        for node, where in self.plans:
            self.reached.put(where, walk.walk(node, where))
        self.next_ms = walk.next_ms
        calls: list[Call] = []
        for model, where in walk.wanted.items():
            rows = np.flatnonzero(where)
            inputs = self.inputs_of(model, rows, self.heard)
            self.heard.ask(model, rows)
            calls.append(Call(model, rows, inputs))
        return calls

    def take(self, call: Call, answers: Answers, duration_ms: int) -> None:
        """Take an answer."""
        terms = self.terms.get(call.model)
        if terms is not None and not answers.cost_nano and terms.price_nano:
            cost_nano = terms.price_nano * len(call.rows)
            answers = replace(answers, cost_nano=cost_nano, currency=terms.currency)
        self.heard.take(call.model, call.rows, answers, duration_ms)

    def fail(self, call: Call, kind: FailureKind, duration_ms: int = 0) -> None:
        """Note that there is no answer."""
        self.heard.fail(call.model, call.rows, kind, duration_ms)


class Driver(Protocol):
    """Asks models, and gives work what they say."""

    async def drive(self, work: Work) -> None:
        """Bring work to its end.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        ...


class InTurn:
    """Asks one model after the other and waits for each: enough where nothing is slow."""

    def __init__(self, models: Mapping[str, AnyModel], report: Callable[[Exception], None]) -> None:
        """Take the models by name, and who hears of failures."""
        self._models = models
        self._report = report

    async def drive(self, work: Work) -> None:
        """Bring work to its end.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        while calls := work.due(0):
            for call in calls:
                try:
                    work.take(call, await put_call(self._models[call.model], call), 0)
                except ModelFailedError as failure:
                    cause = failure.__cause__
                    self._report(cause if isinstance(cause, Exception) else failure)
                    work.fail(call, failure.kind)


async def put_call(model: AnyModel, call: Call) -> Answers:
    """Put one call to a model.

    Raises:
        ModelFailedError: it has no answer.
        LaterError, OursError: as the model raised them.
    """
    try:
        if isinstance(call.inputs, np.ndarray):
            return answers_of(await cast("Model", model).answer(call.inputs))
        return await cast("RowModel", model).answer_rows(call.inputs)
    except (LaterError, OursError, ModelFailedError):
        raise
    except TimeoutError as failure:
        raise ModelFailedError("timeout", f"{model.name}: {failure}") from failure
    except Exception as failure:  # a model is anybody's code
        raise ModelFailedError("broke", f"{model.name}: {failure!r}") from failure


def _blank(rows: int) -> Reached:
    def no() -> Flags:
        return np.zeros(rows, np.bool_)

    none = np.full(rows, np.nan)
    return Reached(no(), no(), none, none.copy(), no())
