"""The action record: something to be done to the world because of a decision. Version 1.

What one event asks for is asked for under one id, however often it is decided anew: the id is a
digest of tenant, pipeline, event id, action and the action's version. Carrying it out is another
stage's work, and the id its idempotency key.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["ACTION_VERSION", "Action"]

ACTION_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Action:
    """One record on `.actions`, keyed by its id.

    Attributes:
        action_id: stable over retry, replay and redeployment.
        entity: what the event was about: the source's key.
        action: as the pipeline names it; `action_version` as it declares it.
        reasons: the decision's, the strongest first.
        decided_at_ms: milliseconds since 1970 UTC.
        content: what the action is about to do it with, JSON: a reply, say; None for nothing.
    """

    action_id: str
    pipeline: str
    pipeline_version: int
    tenant: str
    event_id: str
    entity: str
    action: str
    action_version: int
    reasons: tuple[str, ...]
    decided_at_ms: int
    content: object = None
