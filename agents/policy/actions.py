"""Which actions follow from decisions: those that the deciding rules name."""

from collections.abc import Iterable

from batuta.agents.identity import derived_id
from batuta.schemas.action import Action
from batuta.schemas.decision import Decision
from batuta.schemas.pipeline_rules import Rule

__all__ = ["action_of", "actions_of"]


def actions_of(decided: Iterable[tuple[Decision, Rule | None]]) -> list[Action]:
    """Return the actions of decisions, in order; most decisions ask for none."""
    return [
        action_of(decision, rule.action, rule.action_version)
        for decision, rule in decided
        if rule is not None and rule.action is not None
    ]


def action_of(decision: Decision, action: str, version: int) -> Action:
    """Return what `decision` asks for, under an id that only its event and the action make."""
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
