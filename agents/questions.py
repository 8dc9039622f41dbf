"""Questions: events with what is understood of them, on their way to a model and back.

A question that outlives its batch is kept as parked steps, one per event; `payload` and
`question_of` take an event and its features to bytes and back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from batuta.agents.identity import scoped
from batuta.agents.models.port import Scores
from batuta.agents.state.parking import Step
from batuta.agents.understanding.features import Features
from batuta.schemas import codec
from batuta.schemas.errors import StateCorruptError
from batuta.schemas.ingested import Ingested
from batuta.schemas.record import Record

__all__ = ["Answer", "Question", "payload", "question_of", "waiting_key"]

#: Scores, one per row that was asked about; None where the model broke.
Answer = Scores | None


@dataclass(frozen=True, slots=True)
class Question:
    """Events, and what the model is to know of them.

    Attributes:
        events: in order.
        features: (len(events), inputs of the model).
        step_ids: what each is called while it is parked.
        asked: (len(events),) which of them the model is asked about; the others have to wait for
            an event of their key that is parked.
        expired: how many labels came with them for which it was too late.
    """

    events: Sequence[Ingested]
    features: Features
    step_ids: list[str]
    asked: npt.NDArray[np.bool_]
    expired: int = 0

    @classmethod
    def about(cls, events: Sequence[Ingested], features: Features, expired: int = 0) -> "Question":
        """Ask about every event."""
        ids = [scoped(event.tenant, event.event_id) for event in events]
        return cls(events, features, ids, np.ones(len(events), np.bool_), expired)


def waiting_key(event: Ingested) -> str:
    """Return the key behind which later events wait: that of the topic the event came on."""
    return scoped(event.tenant, event.scoring_key)


def payload(event: Ingested, row: npt.NDArray[np.float64]) -> bytes:
    """Write an event and its features; the version is the parked step's."""
    value = codec.encode_ingested(event, "").value
    assert value is not None
    return orjson.dumps({"event": orjson.Fragment(value), "features": row.tolist()})


def question_of(steps: Sequence[Step]) -> Question:
    """Ask again about parked steps.

    Raises:
        StateCorruptError: a payload is none that this release has written.
    """
    events: list[Ingested] = []
    rows: list[list[float]] = []
    for step in steps:
        event, row = _read(step)
        events.append(event)
        rows.append(row)
    ids = [step.id for step in steps]
    return Question(events, np.array(rows, np.float64), ids, np.ones(len(ids), np.bool_))


def _read(step: Step) -> tuple[Ingested, list[float]]:
    try:
        fields = orjson.loads(step.payload)
        value, row = orjson.dumps(fields["event"]), [float(one) for one in fields["features"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StateCorruptError(f"parked step {step.id!r} is damaged: {error}") from error
    read = codec.decode_ingested([Record("", 0, 0, 0, None, value)])
    if read.refused:
        raise StateCorruptError(f"parked step {step.id!r}: {read.refused[0].error}")
    return read.items[0], row
