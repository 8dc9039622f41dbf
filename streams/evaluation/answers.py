"""What was decided about each event of a history: a score and the features the decision names."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from batuta.schemas.codec import decode_decisions
from batuta.schemas.errors import OursError
from batuta.schemas.record import Record

__all__ = ["Answers"]


class Answers:
    """Decisions, by the row of their event.

    Attributes:
        names: of the features, as the first decision has them.
        model: the version that scored.
        decided: events with a decision.
        doubled: decisions beyond the first of their event.
        evidence: by row, what the model that was asked first rests on, where it says so.
    """

    def __init__(self, event_ids: Iterable[str]) -> None:
        self._rows = {event_id: row for row, event_id in enumerate(event_ids)}
        self.scores = np.full(len(self._rows), np.nan)
        self.model = ""
        self.names: tuple[str, ...] = ()
        self._features: npt.NDArray[np.float64] | None = None
        self.decided = 0
        self.doubled = 0
        self.evidence: dict[int, str] = {}

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self._rows)

    def take(self, records: Sequence[Record]) -> None:
        """Take decisions in.

        Raises:
            OursError: a record is no decision.
        """
        decoded = decode_decisions(records)
        if decoded.refused:
            raise OursError(f"a record is no decision: {decoded.refused[0].error}")
        rows = [self._rows.get(decision.event_id, -1) for decision in decoded.items]
        for row, decision in zip(rows, decoded.items, strict=True):
            if row < 0:
                continue
            if self._features is None:
                self.model, self.names = decision.model, tuple(decision.features)
                self._features = np.full((len(self._rows), len(self.names)), np.nan)
            if not np.isnan(self.scores[row]):
                self.doubled += 1
                continue
            self.decided += 1
            self.scores[row] = decision.score
            self._features[row] = [decision.features[name] for name in self.names]
            if decision.answers and decision.answers[0].evidence:
                self.evidence[row] = decision.answers[0].evidence

    @property
    def features(self) -> dict[str, npt.NDArray[np.float64]]:
        """The features that decisions name: one value per event, NaN where there is none."""
        if self._features is None:
            return {}
        return dict(zip(self.names, self._features.T, strict=True))
