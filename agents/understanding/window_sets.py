"""The windows of one stage: several tables of one key, observed together, as named columns."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.features import Features, amounts_of, window_names
from batuta.agents.understanding.windows import TrailingWindows
from batuta.schemas.pipeline import WindowFeature

__all__ = ["WINDOW_TAGS", "WindowSet", "carried_matrix"]

#: Tags of the tables, in the order in which a pipeline declares them: the first is `w`.
WINDOW_TAGS: Final = tuple(bytes([code]) for code in b"wABCDEFGHIJKLMNO")


class WindowSet:
    """What a stage's windows hold, per lane.

    Attributes:
        names: of its features, one per column.
        tables: its state.
        holds: what each table is for, by its tag.
    """

    def __init__(self, features: Sequence[WindowFeature]) -> None:
        assert len(features) <= len(WINDOW_TAGS), "more windows than tags"
        self.names: tuple[str, ...] = tuple(name for one in features for name in window_names(one))
        self.tables = tuple(
            TrailingWindows(tag, one.windows_ms, with_mean=one.mean_of is not None)
            for tag, one in zip(WINDOW_TAGS, features, strict=False)
        )
        self.holds = {
            table.tag: _held(one) for table, one in zip(self.tables, features, strict=True)
        }
        self._features = tuple(features)
        self._columns = [_columns(one) for one in features]

    def entries(self) -> int:
        """Return how many entries all tables hold."""
        return sum(table.entries() for table in self.tables)

    def observe(
        self,
        keys: Sequence[str],
        times_ms: npt.NDArray[np.int64],
        data: Sequence[Mapping[str, object]],
    ) -> Features:
        """Take events in, in order, and return their features.

        Args:
            keys: whose windows.
            times_ms: event times.
            data: payloads, for the fields that are averaged.

        Returns:
            (len(keys), len(self.names)) values.
        """
        parts = [
            table.observe(keys, times_ms, amounts_of(data, feature.mean_of))[:, columns]
            for table, feature, columns in zip(
                self.tables, self._features, self._columns, strict=True
            )
        ]
        return np.hstack(parts) if parts else np.empty((len(keys), 0))


def _held(feature: WindowFeature) -> str:
    """Say whose entries a table holds; how wide its windows are may change."""
    mean = "" if feature.mean_of is None else f", mean of {feature.mean_of}"
    return f"{feature.name} by {feature.by}{mean}"


def _columns(feature: WindowFeature) -> list[int] | slice:
    """Return which of a table's columns are features: counts and means take turns."""
    if feature.counts_ms is None and feature.means_ms is None:
        return slice(None)
    whole = feature.model_copy(update={"counts_ms": None, "means_ms": None})
    chosen = set(window_names(feature))
    return [number for number, name in enumerate(window_names(whole)) if name in chosen]


def carried_matrix(rows: list[Mapping[str, float]], names: tuple[str, ...]) -> Features:
    """Return the features that came with events; (len(rows), len(names))."""
    if len(names) <= 1:
        return np.array([[row[name] for name in names] for row in rows], np.float64)
    values = chain.from_iterable(map(itemgetter(*names), rows))
    return np.fromiter(values, np.float64, len(rows) * len(names)).reshape(len(rows), len(names))
