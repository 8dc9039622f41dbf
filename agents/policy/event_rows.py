"""A batch of ingested events as expressions see it: payload fields, features, the score."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.policy.names import Column, Kind
from batuta.schemas.ingested import Ingested
from batuta.schemas.times import time_ms

__all__ = ["EventRows", "feature_column", "numbers_of"]

_BLANKS: Final[Mapping[Kind, object]] = {
    "double": 0.0,
    "int": 0,
    "bool": False,
    "string": "",
    "timestamp": 0,
}
_DTYPES: Final[Mapping[Kind, type]] = {
    "double": np.float64,
    "int": np.int64,
    "bool": np.bool_,
    "string": np.object_,
    "timestamp": np.int64,
}
_INT_MIN: Final = -(2**63)


class EventRows:
    """Columns by name: given ones first, else read from the payload at first use."""

    def __init__(
        self, events: Sequence[Ingested], fields: Mapping[str, Kind], time_field: str = ""
    ) -> None:
        """Look at a batch.

        Args:
            events: the batch.
            fields: the payload fields that are plain values, and of which kind.
            time_field: which of them is the event's time.
        """
        self._events = events
        self._fields = fields
        self._time_field = time_field
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self._events)

    @property
    def events(self) -> Sequence[Ingested]:
        """The batch."""
        return self._events

    def give(self, name: str, column: Column) -> None:
        """Add what was computed."""
        self._columns[name] = column

    def column(self, name: str) -> Column:
        """Return the values of a name."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._read(name)
        return column

    def payload(self, row: int) -> Mapping[str, object]:
        """Return an event's payload."""
        return self._events[row].data

    def _read(self, name: str) -> Column:
        kind = self._fields[name]
        if name == self._time_field:
            return Column(np.array([event.event_time_ms for event in self._events], np.int64))
        found = [event.data.get(name) for event in self._events]
        if kind == "timestamp":
            found = [_moment_ms(value) for value in found]
        elif kind == "int":
            found = [_int64(value) for value in found]
        if None not in found:
            return Column(np.array(found, _DTYPES[kind]))
        missing = np.array([value is None for value in found], np.bool_)
        blank = _BLANKS[kind]
        filled = [blank if value is None else value for value in found]
        return Column(np.array(filled, _DTYPES[kind]), missing)


def feature_column(values: npt.NDArray[np.float64], kind: Kind) -> Column:
    """Return a feature as expressions see it: not a number where it failed, unless it is a double.

    Args:
        values: as kept among the features.
        kind: what its expression answers.
    """
    if kind == "double":
        return Column(values)
    failed = np.isnan(values)
    plain = np.where(failed, 0.0, values)
    cast = plain != 0.0 if kind == "bool" else plain.astype(np.int64)
    return Column(cast, failed if failed.any() else None)


def numbers_of(column: Column) -> npt.NDArray[np.float64]:
    """Return a column as a feature: float64, NaN where there is no value."""
    values = column.values.astype(np.float64)
    return values if column.missing is None else np.where(column.missing, np.nan, values)


def _int64(value: object) -> int | None:
    """Return a whole number that fits; a larger one has no value here, as in CEL."""
    return value if isinstance(value, int) and _INT_MIN <= value < -_INT_MIN else None


def _moment_ms(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    return time_ms(datetime.fromisoformat(value))
