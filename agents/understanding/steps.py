"""Features beyond windows: expressions, fields of the payload, and parts of the user's own.

They are computed in the order of the pipeline file, each seeing what came before. A part that
raises, or answers in another shape, is isolated: its values are not numbers, and its events are
told, so that a person decides about them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from batuta.agents.policy.event_rows import EventRows, feature_column, numbers_of
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Flags, Kind
from batuta.agents.understanding.features import ContextFeatures, Features
from batuta.schemas.errors import LaterError, OursError
from batuta.schemas.ingested import Ingested

__all__ = ["ExpressionStep", "PartStep", "Step", "Understanding", "Understood"]

Report = Callable[[Exception], None]


class Step(Protocol):
    """Computes some features of a batch."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features it gives."""
        ...

    def take(self, rows: EventRows, report: Report) -> Flags | None:
        """Give `rows` the features; return where they could not be told, None where all could."""
        ...


@dataclass(frozen=True)
class ExpressionStep:
    """One expression, one feature."""

    name: str
    expression: Expression

    @property
    def names(self) -> tuple[str, ...]:
        """Its one name."""
        return (self.name,)

    def take(self, rows: EventRows, report: Report) -> Flags | None:
        """Answer the expression."""
        del report
        column = self.expression.answer(rows)
        rows.give(self.name, column)
        return column.missing


@dataclass(frozen=True)
class PartStep:
    """A feature of the user's own."""

    part: ContextFeatures

    @property
    def names(self) -> tuple[str, ...]:
        """As the part says."""
        return tuple(self.part.names)

    def take(self, rows: EventRows, report: Report) -> Flags | None:
        """Ask the part; a part that breaks fails for the whole batch."""
        names = self.names
        values: Features | None = None
        try:
            values = self._asked(rows)
        except (LaterError, OursError):
            raise
        except Exception as failure:  # noqa: BLE001 - a part is anybody's code
            report(failure)
        whole = np.full((len(rows), len(names)), np.nan) if values is None else values
        for name, column in zip(names, whole.T, strict=True):
            rows.give(name, feature_column(column, "double"))
        failed = np.logical_or.reduce(np.isnan(whole), axis=1, initial=False)
        return failed if np.any(failed) else None

    def _asked(self, rows: EventRows) -> Features:
        values = np.asarray(self.part.compute(rows.events), np.float64)
        wanted = (len(rows), len(self.names))
        if values.shape != wanted:
            raise ValueError(f"a feature answered the shape {values.shape}, not {wanted}")
        return values


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


def _unheard(failure: Exception) -> None:
    del failure


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

    def complete(
        self,
        events: Sequence[Ingested],
        windows: Mapping[str, npt.NDArray[np.float64]],
        report: Report = _unheard,
    ) -> Understood:
        """Compute the rest.

        Args:
            events: the batch.
            windows: a column per window feature, by name.
            report: told of each part that broke.
        """
        rows = EventRows(events, self.fields, self.time_field)
        for name, values in windows.items():
            rows.give(name, feature_column(values, "double"))
        failed = np.zeros(len(events), np.bool_)
        for step in self.steps:
            gone = step.take(rows, report)
            if gone is not None:
                failed |= gone
        return Understood(rows, failed)
