"""Decision records as expressions see them: score, outcome, and what the model saw."""

from collections.abc import Mapping

import numpy as np

from batuta.agents.policy.event_rows import feature_column
from batuta.agents.policy.names import Column, Kind
from batuta.schemas.decision_columns import DecisionColumns

__all__ = ["DecisionRows"]


class DecisionRows:
    """Some decisions; a feature that one of them does not carry is missing there."""

    def __init__(self, decisions: DecisionColumns, kinds: Mapping[str, Kind]) -> None:
        self._decisions = decisions
        self._kinds = kinds

    def __len__(self) -> int:
        """Return how many decisions there are."""
        return len(self._decisions)

    def column(self, name: str) -> Column:
        """Return the values of a name."""
        if name == "score":
            return Column(np.array(self._decisions.score, np.float64))
        if name == "outcome":
            return Column(np.array(self._decisions.outcome, np.object_))
        found = [features.get(name) for features in self._decisions.features]
        missing = np.array([value is None for value in found], np.bool_)
        values = np.array([0.0 if value is None else value for value in found], np.float64)
        column = feature_column(values, self._kinds[name])
        gone = missing if column.missing is None else missing | column.missing
        return Column(column.values, gone if gone.any() else None)

    def payload(self, row: int) -> Mapping[str, object]:
        """Return nothing: a record carries no payload."""
        del row
        return {}
