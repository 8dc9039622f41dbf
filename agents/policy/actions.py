"""Which actions follow from decisions: those that the deciding rules name."""

from collections.abc import Iterable

from batuta.agents.identity import derived_id
from batuta.schemas.action import Action
from batuta.schemas.decision import Decision

__all__ = ["actions_of"]


def actions_of(decisions: Iterable[Decision]) -> list[Action]:
    """Return the actions of decisions, in order; most decisions ask for none."""
    return [_action_of(decision) for decision in decisions if decision.action]


def _action_of(decision: Decision) -> Action:
    """Return what `decision` asks for, under an id that only its event and the action make."""
    action, version = decision.action, decision.action_version
    named = (decision.tenant, decision.pipeline, decision.event_id, action, str(version))
    return Action(
        action_id=derived_id("action", *named),
        pipeline=decision.pipeline,
        pipeline_version=decision.pipeline_version,
        tenant=decision.tenant,
        event_id=decision.event_id,
        entity=decision.entity,
        action=action,
        action_version=version,
        reasons=decision.reasons,
        decided_at_ms=decision.decided_at_ms,
    )
