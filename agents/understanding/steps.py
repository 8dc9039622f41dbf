"""Features beyond windows: expressions, fields of the payload, and parts of the user's own.

They are computed in the order of the pipeline file, each seeing what came before. Where one cannot
be told of an event its value is no number, and the event is told, so that a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from batuta.agents.policy.event_rows import EventRows, feature_column, numbers_of
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Flags, Kind
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.isolation import DIRECT, Isolation
from batuta.agents.understanding.memories import MemoryTable
from batuta.schemas.ingested import Ingested

__all__ = [
    "ALONE",
    "ExpressionStep",
    "Step",
    "Surroundings",
    "Understanding",
    "Understood",
]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step is given beside its batch.

    Attributes:
        isolation: how parts are called.
        memories: what features that remember keep; None where there are none.
    """

    isolation: Isolation = DIRECT
    memories: MemoryTable | None = None


ALONE: Final = Surroundings()


class Step(Protocol):
    """Computes some features of a batch."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features it gives."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether it needs memories."""
        ...

    def take(self, rows: EventRows, around: Surroundings) -> Flags | None:
        """Give `rows` the features; return where they could not be told, None where all could."""
        ...


@dataclass(frozen=True)
class ExpressionStep:
    """One expression, one feature."""

    name: str
    expression: Expression
    remembers: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Its one name."""
        return (self.name,)

    def take(self, rows: EventRows, around: Surroundings) -> Flags | None:
        """Answer the expression."""
        del around
        column = self.expression.answer(rows)
        rows.give(self.name, column)
        return column.missing


@dataclass(frozen=True)
class Understood:
    """A batch with all its features.

    Attributes:
        rows: what expressions see.
        failed: the events of which some feature could not be told.
    """

    rows: EventRows
    failed: Flags

    def matrix(self, names: Sequence[str]) -> Features:
        """Return features as numbers, (events, len(names)); NaN where there is none."""
        columns = [numbers_of(self.rows.column(name)) for name in names]
        return np.column_stack(columns) if columns else np.empty((len(self.rows), 0))


@dataclass(frozen=True)
class Understanding:
    """What a pipeline computes of each event once its windows are known.

    Attributes:
        fields: the payload fields that are plain values, and of which kind.
        time_field: which of them is the event's time.
        steps: in order.
        inputs: payload fields that models see as they are.
    """

    fields: Mapping[str, Kind] = field(default_factory=dict[str, Kind])
    time_field: str = ""
    steps: tuple[Step, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What it gives beyond the windows."""
        return (*(name for step in self.steps for name in step.names), *self.inputs)

    @property
    def remembers(self) -> bool:
        """Whether some step needs memories."""
        return any(step.remembers for step in self.steps)

    def complete(
        self,
        events: Sequence[Ingested],
        windows: Mapping[str, npt.NDArray[np.float64]],
        around: Surroundings = ALONE,
    ) -> Understood:
        """Compute the rest.

        Args:
            events: the batch.
            windows: a column per window feature, by name.
            around: what steps are given beside it.
        """
        rows = EventRows(events, self.fields, self.time_field)
        for name, values in windows.items():
            rows.give(name, feature_column(values, "double"))
        failed = np.zeros(len(events), np.bool_)
        for step in self.steps:
            gone = step.take(rows, around)
            if gone is not None:
                failed |= gone
        return Understood(rows, failed)
