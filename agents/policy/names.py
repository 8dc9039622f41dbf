"""What an expression may name, and of which kind each name is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

__all__ = ["HELPERS", "Column", "Flags", "Kind", "Names", "Rows", "Values"]

Kind = Literal["double", "int", "bool", "string", "timestamp"]
Values = npt.NDArray[np.generic]
Flags = npt.NDArray[np.bool_]

_UTC: Final = ZoneInfo("UTC")
#: The functions beside CEL's own, and what each answers.
HELPERS: Final[Mapping[str, str]] = {
    "hour": "the hour of a moment in the source's zone, 0 to 23",
    "weekday": "the day of the week in the source's zone, 0 is Monday and 6 Sunday",
}


@dataclass(frozen=True)
class Names:
    """The names of one kind of expression.

    Attributes:
        kinds: each name's kind.
        fields: all fields of the payload, seen as `event.NAME`, of whatever kind.
        zone: the time zone of the helpers.
        groups: what is no value but names several: its parts.
        maps: what has fields that nobody declares, seen as `NAME.FIELD`.
    """

    kinds: Mapping[str, Kind]
    fields: frozenset[str] = frozenset()
    zone: ZoneInfo = _UTC
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    maps: frozenset[str] = frozenset()


class Column(NamedTuple):
    """One name's values in a batch.

    Attributes:
        values: one per event: float64, int64 (moments in milliseconds), bool, or texts or mappings
            as objects.
        missing: where an event has none, and `values` means nothing; None where all have one.
    """

    values: Values
    missing: Flags | None = None


class Rows(Protocol):
    """A batch as expressions see it."""

    def __len__(self) -> int:
        """Return how many events there are."""
        ...

    def column(self, name: str) -> Column:
        """Return the values of a name."""
        ...

    def payload(self, row: int) -> Mapping[str, object]:
        """Return an event's payload."""
        ...
