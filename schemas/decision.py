"""The decision record: one canonical JSON object per event, enough to explain it later.

Version 1. Times are RFC 3339 in UTC. Readers ignore fields they do not know.

    {"version": 1, "event_id": "tx-000003527", "pipeline": "fraud", "pipeline_version": 1,
     "tenant": "default", "entity": "c3774", "event_time": "2018-04-01T10:17:43.000Z",
     "decided_at": "2018-04-01T10:17:43.052Z", "outcome": "review", "score": 0.71,
     "reasons": ["score_high", "large_amount"], "model": "forest@5f1d0c9a7b3e",
     "features": {"amount": 225.41}, "input_sha256": "..."}
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

__all__ = ["DECISION_VERSION", "Decision", "Outcome"]

DECISION_VERSION: Final = 1

Outcome = Literal["approve", "review", "block"]


class Decision(NamedTuple):
    """What was decided about one event, and why.

    Attributes:
        event_id: the event decided about; a decision is unique by it.
        outcome: approve, review or block.
        score: the model's answer, 0 to 1.
        reasons: stable snake_case codes, the strongest first, never empty.
        model: name and version of the model that answered, `name@sha256[:12]`.
        features: what the model saw; NaN travels as null.
        input_sha256: hex digest of the event's payload.
        published_ms: timestamp of the source record; not written, the start of the event's age.
        action, action_version: what the deciding rule asks for, empty where nothing; not written,
            an action is a record of its own.
    """

    event_id: str
    pipeline: str
    pipeline_version: int
    tenant: str
    entity: str
    event_time_ms: int
    decided_at_ms: int
    outcome: Outcome
    score: float
    reasons: tuple[str, ...]
    model: str
    features: Mapping[str, float]
    input_sha256: str
    published_ms: int = 0
    action: str = ""
    action_version: int = 0
