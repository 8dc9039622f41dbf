"""Which actions follow from decisions: those that the deciding rules name, unless tainted.

This is the one door to `.actions`. A decision whose answer is tainted asks for nothing: a verifier
has to take the taint off, or a person has to decide.
"""

from collections.abc import Sequence

from batuta.agents.identity import derived_id
from batuta.agents.reasons import TAINTED
from batuta.schemas.action import Action
from batuta.schemas.decision import Decision
from batuta.schemas.decision_columns import DecisionColumns

__all__ = ["actions_of", "admitted"]


def admitted(decision: Decision) -> Decision:
    """Return a decision as it may stand: whether to act on a tainted answer, a person decides."""
    if not _held(decision):
        return decision
    return decision._replace(
        outcome="review",
        reasons=(TAINTED, *decision.reasons),
        action="",
        action_version=0,
        action_content=None,
    )


def actions_of(decisions: Sequence[Decision]) -> list[Action]:
    """Return the actions of decisions, in order; most ask for none, tainted ones never."""
    columns = DecisionColumns.of(decisions)
    asking = [columns[row] for row, action in enumerate(columns.action) if action]
    return [_action_of(one) for one in asking if not _held(one)]


def _held(decision: Decision) -> bool:
    return bool(decision.action and decision.taint)


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
        content=decision.action_content,
    )
