"""The notification agent's rules: what people should be told now, and what can wait in a queue.

    a review without a usable score      warning: the model needs a look
    the first notify rule that holds     as it says; of a review once its case is open
    anything else                        nothing

A rule that cannot be answered counts as one that holds: people are rather told than not.
Ids follow from what happened, so a retry or a replay tells the same and a sink can drop it. A
notification names the event, never the entity or its data: those may be personal.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from batuta.agents.context import Context
from batuta.agents.guarded_reasons import GuardedReasons
from batuta.agents.identity import derived_id
from batuta.agents.policy.decision_rows import DecisionRows
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Names
from batuta.agents.reasons import (
    MODEL_ANSWER_INVALID,
    MODEL_FAILED,
    MODEL_LATE,
    NoReasons,
    Reasons,
)
from batuta.agents.understanding.isolation import DIRECT, Isolation
from batuta.schemas.decision import Decision
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.notification import Notification, Severity
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.pipeline_rules import NotifyRule
from batuta.schemas.review import ReviewCase

__all__ = ["TOLD_NAMES", "Notifier"]

#: What every notify rule may name.
TOLD_NAMES: Final = Names({"score": "double", "outcome": "string"})
_BLIND: Final = frozenset({MODEL_FAILED, MODEL_ANSWER_INVALID, MODEL_LATE})


class Notifier:
    """Chooses what people are told, for one pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        reasons: Reasons | None = None,
        names: Names = TOLD_NAMES,
        isolation: Isolation = DIRECT,
    ) -> None:
        """Compile the notify rules.

        Args:
            pipeline: whose decisions are told of.
            reasons: say in words why.
            names: what the rules may use, all of it in a decision's record.
            isolation: how reasons are asked.

        Raises:
            ExpressionError: a rule does not compile.
        """
        self._reasons = GuardedReasons(reasons or NoReasons(), isolation)
        self._kinds = names.kinds
        self._rules = [(rule, Expression(rule.when, names, ("bool",))) for rule in pipeline.notify]

    def notify(
        self, subjects: Sequence[Decision | ReviewCase], context: Context[object]
    ) -> list[Notification]:
        """Return what `subjects` give reason to tell, in order; their times are the subjects'."""
        del context
        if isinstance(subjects, DecisionColumns):
            return self._of_decisions(subjects)
        told: list[Notification] = []
        decisions = [one.decision if isinstance(one, ReviewCase) else one for one in subjects]
        holding = self._holding(DecisionColumns.of(decisions))
        for subject, decision, rule in zip(subjects, decisions, holding, strict=True):
            if isinstance(subject, ReviewCase):
                told += self._of_case(subject, rule)
            elif rule is not None and decision.outcome != "review":
                told.append(self._tell(decision, rule.severity, rule.title, {}))
        return told

    def _of_decisions(self, decisions: DecisionColumns) -> list[Notification]:
        told: list[Notification] = []
        holding = self._holding(decisions)
        for row, (rule, outcome) in enumerate(zip(holding, decisions.outcome, strict=True)):
            if rule is not None and outcome != "review":
                told.append(self._tell(decisions[row], rule.severity, rule.title, {}))
        return told

    def _of_case(self, case: ReviewCase, rule: NotifyRule | None) -> list[Notification]:
        decision, labels = case.decision, {"queue": case.queue}
        if decision.reasons[0] in _BLIND:
            return [self._tell(decision, "warning", "undecided without a model", labels)]
        if rule is None:
            return []
        return [self._tell(decision, rule.severity, rule.title, labels)]

    def _holding(self, decisions: DecisionColumns) -> list[NotifyRule | None]:
        """Return the first rule that holds for each decision."""
        rows = DecisionRows(decisions, self._kinds)
        found: list[NotifyRule | None] = [None] * len(decisions)
        for rule, expression in self._rules:
            answer = expression.answer(rows)
            holds = answer.values.astype(np.bool_)
            if answer.missing is not None:
                holds |= answer.missing
            for row in np.flatnonzero(holds).tolist():
                found[row] = found[row] or rule
        return found

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
