"""The escalation agent: every decision to review becomes a case for people, once.

A case's id, opening and due time follow from the decision alone, so a retry or a replay writes
the same case again and never a second one.
"""

from collections.abc import Sequence

from batuta.agents.context import Context
from batuta.agents.identity import derived_id
from batuta.schemas.decision import Decision
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.review import ReviewCase

__all__ = ["Escalation"]


class Escalation:
    """Opens review cases, for one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._escalation = pipeline.escalation

    def escalate(self, decisions: Sequence[Decision], context: Context[object]) -> list[ReviewCase]:
        """Return a case per decision whose outcome is `review`, in order."""
        del context
        return [self._open(decision) for decision in decisions if decision.outcome == "review"]

    def _open(self, decision: Decision) -> ReviewCase:
        return ReviewCase(
            case_id=derived_id("case", decision.tenant, decision.pipeline, decision.event_id),
            queue=self._escalation.queue,
            opened_at_ms=decision.decided_at_ms,
            due_at_ms=decision.decided_at_ms + self._escalation.due_ms,
            decision=decision,
        )
