"""The notification agent's rules: what people should be told now, and what can wait in a queue.

    a decision to block                                  critical
    a review case without a usable score                 warning: the model needs a look
    a review case in the upper half of the review band   warning: likely the next block
    anything else                                        nothing

Ids follow from what happened, so a retry or a replay tells the same and a sink can drop it. A
notification names the event, never the entity or its data: those may be personal.
"""

from collections.abc import Sequence

from batuta.agents.context import Context
from batuta.agents.identity import derived_id
from batuta.agents.reasons import MODEL_ANSWER_INVALID, MODEL_FAILED, NoReasons, Reasons
from batuta.schemas.decision import Decision
from batuta.schemas.notification import Notification, Severity
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.review import ReviewCase

__all__ = ["Notifier"]


class Notifier:
    """Chooses what people are told, for one pipeline."""

    def __init__(self, pipeline: Pipeline, reasons: Reasons | None = None) -> None:
        self._reasons = reasons or NoReasons()
        thresholds = pipeline.thresholds
        self._urgent = (thresholds.review + thresholds.block) / 2

    def notify(
        self, subjects: Sequence[Decision | ReviewCase], context: Context[object]
    ) -> list[Notification]:
        """Return what `subjects` give reason to tell, in order; their times are the subjects'."""
        del context
        told = [
            self._of_case(subject) if isinstance(subject, ReviewCase) else self._of(subject)
            for subject in subjects
        ]
        return [notification for notification in told if notification is not None]

    def _of(self, decision: Decision) -> Notification | None:
        if decision.outcome != "block":
            return None
        return self._tell(decision, "critical", "blocked", {})

    def _of_case(self, case: ReviewCase) -> Notification | None:
        decision = case.decision
        blind = decision.reasons[0] in {MODEL_FAILED, MODEL_ANSWER_INVALID}
        if not blind and decision.score < self._urgent:
            return None
        title = "undecided without a model" if blind else "for urgent review"
        return self._tell(decision, "warning", title, {"queue": case.queue})

    def _tell(
        self, decision: Decision, severity: Severity, what: str, labels: dict[str, str]
    ) -> Notification:
        pipeline, tenant, event_id = decision.pipeline, decision.tenant, decision.event_id
        leading = decision.reasons[1 if len(decision.reasons) > 1 else 0]
        why = "; ".join(self._reasons.text_of(code) for code in decision.reasons)
        return Notification(
            notification_id=derived_id("notification", tenant, pipeline, event_id, what),
            pipeline=pipeline,
            tenant=tenant,
            severity=severity,
            title=f"{pipeline}: {event_id} {what}",
            summary=f"{decision.model} scored {decision.score:.2f}: {why}.",
            event_id=event_id,
            labels={"outcome": decision.outcome, "reason": leading, **labels},
            created_at_ms=decision.decided_at_ms,
        )
