"""What a feature is called, and what a pipeline adds of its own to the windows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, overload

import numpy as np
import numpy.typing as npt

from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline import WindowFeature

__all__ = [
    "ContextFeatures",
    "FeatureRows",
    "Features",
    "KeyedFeatures",
    "Memory",
    "amounts_of",
    "window_names",
]

#: Feature values, one row per event, one column per name.
Features = npt.NDArray[np.float64]
_TOGETHER: Final = 64
#: What a feature remembers of one series, (width,).
Memory = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRows(Sequence[Mapping[str, float]]):
    """Features by name of each event: a row is made where somebody looks at one.

    Attributes:
        names: one per column.
        values: (events, names); there may be more columns than names.

    >>> FeatureRows(("amount",), np.array([[3.0], [4.0]]))[1]
    {'amount': 4.0}
    """

    names: tuple[str, ...]
    values: Features

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.values)

    def __iter__(self) -> Iterator[Mapping[str, float]]:
        """Make every row."""
        # A few at a time: who writes them has them in the processor's cache then.
        for first in range(0, len(self.values), _TOGETHER):
            for row in self.values[first : first + _TOGETHER].tolist():
                yield dict(zip(self.names, row, strict=False))

    @overload
    def __getitem__(self, place: int) -> Mapping[str, float]: ...
    @overload
    def __getitem__(self, place: slice) -> "FeatureRows": ...
    def __getitem__(self, place: int | slice) -> "Mapping[str, float] | FeatureRows":
        """Make one row, or take some."""
        if isinstance(place, slice):
            return FeatureRows(self.names, self.values[place])
        return dict(zip(self.names, self.values[place].tolist(), strict=False))

    def at(self, places: Sequence[int]) -> "FeatureRows":
        """Take some rows."""
        return FeatureRows(self.names, self.values[np.array(places, np.intp)])

    def columns(self) -> dict[str, Features]:
        """Return a copy of each column, (events,), by name."""
        return {
            name: column.copy() for name, column in zip(self.names, self.values.T, strict=False)
        }


_UNITS_MS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


class ContextFeatures(Protocol):
    """Features that need nothing but the event itself: the hour, the amount.

    Attributes:
        names: one per column.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One per column."""
        ...

    def compute(self, events: Sequence[Ingested]) -> Features:
        """Return (len(events), len(self.names)) values."""
        ...


class KeyedFeatures(Protocol):
    """Features that remember: each event is seen beside what came before it in its series.

    A series is what happens to one key. Its memory is a few numbers that the runtime keeps in the
    state of the key's lane: it is as old as the committed events, whatever crashes.

    Attributes:
        names: one per column.
        width: how many numbers are remembered of a series, at most 4,096.
        per: further fields of the event that tell series of one key apart; often none.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One per column."""
        ...

    @property
    def width(self) -> int:
        """How many numbers are remembered of a series."""
        ...

    @property
    def per(self) -> tuple[str, ...]:
        """Further fields that tell series of one key apart."""
        ...

    def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
        """Take the events of one series in, in order; the same however they are cut.

        Args:
            memory: (width,), zeros for a new series; what it holds at the end is remembered.
            events: one or more, in the order of their arrival.

        Returns:
            (len(events), len(self.names)) values.
        """
        ...


def window_names(windows: WindowFeature) -> tuple[str, ...]:
    """Return the names of a window feature's columns, in the order `WindowSet` gives them.

    >>> from batuta.schemas.pipeline import WindowFeature
    >>> window_names(WindowFeature(name="card", by="card_id", windows_ms=(86_400_000,)))
    ('card_count_1d',)
    """
    names: list[str] = []
    for width_ms in windows.windows_ms:
        width = _width(width_ms)
        if windows.counts_ms is None or width_ms in windows.counts_ms:
            names.append(f"{windows.name}_count_{width}")
        mean = windows.means_ms is None or width_ms in windows.means_ms
        if windows.mean_of is not None and mean:
            names.append(f"{windows.name}_mean_{windows.mean_of}_{width}")
    return tuple(names)


def amounts_of(data: Sequence[Mapping[str, object]], field: str | None) -> Features:
    """Return the field that windows average, one value per event; zeros where there is none."""
    if field is None:
        return np.zeros(len(data))
    return np.array([fields[field] for fields in data], np.float64)


def _width(width_ms: int) -> str:
    unit, unit_ms = next((unit, ms) for unit, ms in _UNITS_MS if width_ms % ms == 0)
    return f"{width_ms // unit_ms}{unit}"
