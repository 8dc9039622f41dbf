"""The escalation agent: cases for people, and what becomes of what these say.

    a decision to review    becomes a case, once; it is final, whatever a person says of it
    a case                  of a decision or of a step that waits: it is remembered
    a verdict               closes its case; where a step waits it goes on with the answer
    no verdict in time      a step's case is closed, and the step goes on without an answer

Of several verdicts on a case the first counts. Each is answered by what became of it, also one that
comes too late, one for a case that was closed, and one for a case that nobody knows.

A case's id, opening and due time follow from the decision alone, so a retry or a replay writes
the same case again and never a second one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from batuta.agents.context import Context
from batuta.agents.identity import derived_id
from batuta.agents.reviewing import EscalationState, KeptCase, kept_of
from batuta.agents.state.timers import Firing, Timer
from batuta.schemas.decision import Decision
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.review import (
    Case,
    ReviewCase,
    Reviewed,
    ReviewedAs,
    StepAnswer,
    StepCase,
    Verdict,
)

if TYPE_CHECKING:
    from batuta.schemas.errors import FailureKind

__all__ = ["Escalated", "Escalation"]

#: How long a verdict waits for its case: both come on topics of their own.
_EARLY_MS: Final = 30_000
_DUE: Final = "case_due"
_EARLY: Final = "verdict_early"


@dataclass
class Escalated:
    """What a batch came to.

    Attributes:
        cases: of decisions, to be opened.
        opened: how many steps' cases were taken in.
        reviewed: what became of verdicts and cases.
        answers: to parked steps, each with the partition of its lane.
        misplaced: verdicts that belong to another lane.
    """

    cases: list[ReviewCase] = field(default_factory=list[ReviewCase])
    opened: int = 0
    reviewed: list[Reviewed] = field(default_factory=list[Reviewed])
    answers: list[tuple[StepAnswer, int]] = field(default_factory=list[tuple[StepAnswer, int]])
    misplaced: list[Verdict] = field(default_factory=list[Verdict])


class Escalation:
    """Opens review cases and closes them, for one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline.name
        self._escalation = pipeline.escalation

    def open_state(self) -> EscalationState:
        """Return the empty state of one lane."""
        return EscalationState()

    def escalate(
        self,
        items: Sequence[Decision | Case | Verdict],
        firings: Sequence[Firing],
        context: Context[EscalationState],
    ) -> Escalated:
        """Take a batch in: first cases, then verdicts, then what time alone brings."""
        into = Escalated()
        verdicts: list[Verdict] = []
        for item in items:
            if isinstance(item, Decision):
                if item.outcome == "review":
                    into.cases.append(self._open(item))
            elif isinstance(item, Verdict):
                verdicts.append(item)
            else:
                self._keep(item, context, into)
        for verdict in verdicts:
            self._take(verdict, context, into)
        for firing in firings:
            self._fire(firing, context, into)
        return into

    def _open(self, decision: Decision) -> ReviewCase:
        return ReviewCase(
            case_id=derived_id("case", decision.tenant, decision.pipeline, decision.event_id),
            queue=self._escalation.queue,
            opened_at_ms=decision.decided_at_ms,
            due_at_ms=decision.decided_at_ms + self._escalation.due_ms,
            decision=decision,
        )

    def _keep(self, case: Case, context: Context[EscalationState], into: Escalated) -> None:
        """Remember a case, once; hear the verdict that came before it."""
        state, kept = context.state, kept_of(case)
        if state.case(case.case_id) is not None:
            return
        if isinstance(case, StepCase):
            into.opened += 1
        if state.full:
            if isinstance(case, StepCase):
                into.answers.append(_answer(case.case_id, kept, None, 0))
            return
        state.keep(case.case_id, kept)
        if isinstance(case, StepCase):
            context.timers.set(Timer(_DUE, case.case_id, case.due_at_ms, "processing"))
        if (verdict := state.take_early(case.case_id)) is not None:
            context.timers.cancel(_EARLY, case.case_id)
            self._judge(verdict, kept, context, into)

    def _take(self, verdict: Verdict, context: Context[EscalationState], into: Escalated) -> None:
        case_id, state = verdict.case_id, context.state
        if context.partition_of(case_id.encode()) != context.partition:
            into.misplaced.append(verdict)
        elif (kept := state.case(case_id)) is not None:
            self._judge(verdict, kept, context, into)
        elif state.early_full:
            into.reviewed.append(self._reviewed("unknown", verdict, None, context.now_ms))
        elif not state.wait(verdict):
            into.reviewed.append(self._reviewed("repeated", verdict, None, context.now_ms))
        else:
            due_ms = context.now_ms + _EARLY_MS
            context.timers.set(Timer(_EARLY, case_id, due_ms, "processing"))

    def _judge(
        self,
        verdict: Verdict,
        kept: KeptCase,
        context: Context[EscalationState],
        into: Escalated,
    ) -> None:
        """Close a case by a verdict, or say why it does not count."""
        now_ms, result = context.now_ms, _result(kept, context.now_ms)
        into.reviewed.append(self._reviewed(result, verdict, kept, now_ms))
        if result not in {"answered", "closed"}:
            return
        context.state.keep(verdict.case_id, kept._replace(stands="answered"))
        if result == "answered":
            context.timers.cancel(_DUE, verdict.case_id)
            into.answers.append(_answer(verdict.case_id, kept, verdict, now_ms))

    def _fire(self, firing: Firing, context: Context[EscalationState], into: Escalated) -> None:
        case_id, state, now_ms = firing.key, context.state, context.now_ms
        if firing.kind == _EARLY:
            if (verdict := state.take_early(case_id)) is not None:
                into.reviewed.append(self._reviewed("unknown", verdict, None, now_ms))
            return
        kept = state.case(case_id)
        if kept is not None and kept.stands == "open":
            state.keep(case_id, kept._replace(stands="expired"))
            expired = self._reviewed("expired", None, kept, now_ms)
            into.reviewed.append(replace(expired, case_id=case_id))
            into.answers.append(_answer(case_id, kept, None, now_ms))

    def _reviewed(
        self, result: ReviewedAs, verdict: Verdict | None, kept: KeptCase | None, now_ms: int
    ) -> Reviewed:
        return Reviewed(
            case_id=verdict.case_id if verdict is not None else "",
            result=result,
            verdict=verdict,
            pipeline=self._pipeline,
            tenant=kept.tenant if kept is not None else "",
            event_id=kept.event_id if kept is not None else "",
            at_ms=now_ms,
        )


def _result(kept: KeptCase, now_ms: int) -> ReviewedAs:
    """Return what becomes of a verdict on a case; a decision's has no end but its verdict."""
    if kept.stands != "open":
        return "late" if kept.stands == "expired" else "repeated"
    if not kept.step_id:
        return "closed"
    return "late" if now_ms >= kept.due_at_ms else "answered"


def _answer(
    case_id: str, kept: KeptCase, verdict: Verdict | None, now_ms: int
) -> tuple[StepAnswer, int]:
    """Return the answer that a step goes on with, and where it waits.

    Args:
        case_id: that was opened for the step.
        kept: what is known of it.
        verdict: None where the time for one is over, or nobody could be asked at all.
        now_ms: 0 where nobody could be asked.
    """
    score = None if verdict is None else verdict.answer
    failure: FailureKind | None = None
    if verdict is None:
        failure = "timeout" if now_ms else "overloaded"
    elif score is None:
        failure = "refused"
    said = "" if verdict is None else f"{verdict.by}: {verdict.comment or verdict.verdict}"
    waited_ms = max(now_ms - kept.opened_at_ms, 0) if now_ms else 0
    answer = StepAnswer(case_id, kept.step_id, kept.asked, score, failure, said, waited_ms)
    return answer, kept.partition
