"""Gathers, from decisions and outcomes, how sure a model was and whether it was right.

gathered = Gathered(pipeline, "forest")
for record in records:
    gathered.take(record)
said, right = gathered.pairs()
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores
from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas.codec import decode_decision, decode_outcome
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Record

__all__ = ["Gathered"]

#: A score from here on says yes.
_YES: Final = 0.5
_Key = tuple[str, str]


class _Said(NamedTuple):
    sure: float
    yes: bool
    decided_at_ms: int


@dataclass
class Gathered:
    """What one model said of events, and what became known of them.

    Attributes:
        pipeline: whose version as it is now counts: another's answers were calibrated otherwise.
        model: its name in the pipeline.
        silent_before_ms: an event decided before that, and of which nothing was heard, is not so;
            None: nothing is known of it.
        answered: how many answers of it there are.
    """

    pipeline: LoadedPipeline
    model: str
    silent_before_ms: int | None = None
    answered: int = 0
    _said: dict[_Key, _Said] = field(default_factory=dict[_Key, _Said])
    _known: dict[_Key, bool] = field(default_factory=dict[_Key, bool])

    @property
    def one_sided(self) -> bool:
        """Whether everything that is known says the same: half of the truth is not told."""
        return not {True, False} <= {self._truth(event) for event in self._said}

    @property
    def topics(self) -> tuple[str, str]:
        """Where it is told."""
        return self.pipeline.topics.decisions, self.pipeline.topics.outcomes

    def take(self, record: Record) -> None:
        """Take a record of either topic; one that cannot be read says nothing."""
        try:
            if record.topic == self.pipeline.topics.outcomes:
                outcome = decode_outcome(record)
                self._known[outcome.tenant, outcome.event_id] = outcome.label
            else:
                self._decided(record)
        except RefusedEventError:
            return

    def pairs(self) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """Return how sure the model was of each event that is known, and whether it was right."""
        known = [
            (said.sure, said.yes is label)
            for event, said in self._said.items()
            if (label := self._truth(event)) is not None
        ]
        return (
            np.array([sure for sure, _ in known], np.float64),
            np.array([right for _, right in known], np.bool_),
        )

    def _truth(self, event: _Key) -> bool | None:
        """Return what an event turned out to be; None where that is not known."""
        known = self._known.get(event)
        before_ms = self.silent_before_ms
        if known is None and before_ms is not None and self._said[event].decided_at_ms < before_ms:
            return False
        return known

    def _decided(self, record: Record) -> None:
        decision = decode_decision(record)
        if decision.pipeline_version != self.pipeline.pipeline.version:
            return
        for answer in decision.answers:
            if answer.name == self.model and answer.score is not None:
                self.answered += 1
                sure = answer.confidence
                if sure is not None:
                    event = (decision.tenant, decision.event_id)
                    self._said[event] = _Said(sure, answer.score >= _YES, decision.decided_at_ms)
