"""Gathers, from decisions and outcomes, how sure a model was and whether it was right.

gathered = Gathered(pipeline, "forest")
for record in records:
    gathered.take(record)
said, right = gathered.pairs()
"""

from dataclasses import dataclass, field
from typing import Final

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


@dataclass
class Gathered:
    """What one model said of events, and what became known of them.

    Attributes:
        pipeline: whose version as it is now counts: another's answers were calibrated otherwise.
        model: its name in the pipeline.
        answered: how many answers of it there are.
    """

    pipeline: LoadedPipeline
    model: str
    answered: int = 0
    _said: dict[_Key, tuple[float, bool]] = field(default_factory=dict[_Key, tuple[float, bool]])
    _known: dict[_Key, bool] = field(default_factory=dict[_Key, bool])

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
            (sure, yes is self._known[event])
            for event, (sure, yes) in self._said.items()
            if event in self._known
        ]
        return (
            np.array([sure for sure, _ in known], np.float64),
            np.array([right for _, right in known], np.bool_),
        )

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
                    self._said[event] = (sure, answer.score >= _YES)
