"""Review: cases for people, what people say of them, and what becomes of that.

    ReviewCase   a decision that a person should look at; it stands whatever they say
    StepCase     a step of a plan that asks a person; the event waits for the answer
    FailedAnswer what a person who corrects is shown of the answer that did not pass
    Verdict      what a person says of a case
    Reviewed     what became of a verdict, or of a case that none came for
    StepAnswer   the answer on its way back to the step that waits; internal

A review case is version 2, for the decision's own; the others are version 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from batuta.schemas.decision import Decision, ModelAnswer
from batuta.schemas.errors import FailureKind

__all__ = [
    "ANSWER_CHARACTERS_MAX",
    "CRITIQUE_CHARACTERS_MAX",
    "REVIEWED_VERSION",
    "REVIEW_CASE_VERSION",
    "STEP_ANSWER_VERSION",
    "STEP_CASE_VERSION",
    "VERDICT_VERSION",
    "Case",
    "FailedAnswer",
    "ReviewCase",
    "Reviewed",
    "ReviewedAs",
    "Says",
    "StepAnswer",
    "StepCase",
    "Verdict",
]

REVIEW_CASE_VERSION: Final = 2
STEP_CASE_VERSION: Final = 1
VERDICT_VERSION: Final = 1
REVIEWED_VERSION: Final = 1
STEP_ANSWER_VERSION: Final = 1

#: Of a failed answer, and of what is wrong with it; more is cut before it is written.
ANSWER_CHARACTERS_MAX: Final = 2_000
CRITIQUE_CHARACTERS_MAX: Final = 500

#: What a person may say; `unsure` is no answer, and the plan goes on by its rule.
Says = Literal["approve", "block", "unsure"]
#: What becomes of a verdict: a step goes on with it; a decision's case is closed; there was one
#: before; nobody knows the case; it came too late. And of a case: no verdict came in time.
ReviewedAs = Literal["answered", "closed", "repeated", "unknown", "late", "expired"]


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """One case on `.escalations`, keyed by its id.

    Attributes:
        case_id: stable over retry and replay: a digest of tenant, pipeline and event id.
        queue: the reviewers it is for.
        opened_at_ms, due_at_ms: milliseconds since 1970 UTC.
        decision: the record that asked for the review.
    """

    case_id: str
    queue: str
    opened_at_ms: int
    due_at_ms: int
    decision: Decision


class FailedAnswer(NamedTuple):
    """An answer that a checkpoint did not let pass, as the person sees it who is asked instead.

    It is shown and nothing else: what a model says, and may have been told to say, does not act.

    Attributes:
        at: the checkpoint.
        reasons: why, the first check's first.
        critique: the same in words, `CRITIQUE_CHARACTERS_MAX` at most.
        model: the version that gave it; empty where several did together.
        text: what was answered beside the score, `ANSWER_CHARACTERS_MAX` at most; JSON where it is
            no text; empty where there was nothing.
        score: None where there was none.
        taint: what may be wrong with it.
        attempts: how often it was to be corrected before.
    """

    at: str
    reasons: tuple[str, ...]
    critique: str
    model: str = ""
    text: str = ""
    score: float | None = None
    taint: tuple[str, ...] = ()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class StepCase:
    """A question to a person on `.escalations`, keyed by its id: there is no decision yet.

    Attributes:
        case_id: stable over retry and replay: a digest of pipeline, person and parked step.
        queue: the reviewers it is for.
        opened_at_ms, due_at_ms: milliseconds since 1970 UTC; a later answer counts as none.
        asked: as the pipeline names the person.
        step_id, partition: the step that waits, and the lane of scoring where it does.
        plan: that the event follows.
        data: the event's payload.
        features: what models see of it.
        answers: of the models that were asked before.
        failed: the answer that the person is to correct; None where they are asked as any step is.
    """

    case_id: str
    queue: str
    opened_at_ms: int
    due_at_ms: int
    asked: str
    step_id: str
    partition: int
    pipeline: str
    pipeline_version: int
    tenant: str
    event_id: str
    entity: str
    event_time_ms: int
    plan: str
    data: Mapping[str, object]
    features: Mapping[str, float]
    answers: tuple[ModelAnswer, ...] = ()
    failed: FailedAnswer | None = None


#: A case of either kind.
Case = ReviewCase | StepCase


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person says of a case, on `.verdicts`, keyed by the case's id.

    Attributes:
        score: 0 to 1; None for 0 with `approve` and 1 with `block`.
        by: who says it.
        given_at_ms: milliseconds since 1970 UTC.
    """

    case_id: str
    verdict: Says
    by: str
    given_at_ms: int
    score: float | None = None
    comment: str = ""

    @property
    def answer(self) -> float | None:
        """The score a step goes on with; None where it is no answer.

        >>> Verdict("c1", "block", "ada", 0).answer, Verdict("c1", "unsure", "ada", 0).answer
        (1.0, None)
        """
        if self.verdict == "unsure":
            return None
        return float(self.verdict == "block") if self.score is None else self.score


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What became of a verdict or of a case, on `.reviewed`, keyed by the case's id.

    Attributes:
        result: what became of it.
        verdict: that came; None where the case ran out of time.
        event_id, pipeline, tenant: of the case; empty, but for the pipeline, where it is unknown.
        at_ms: when that was seen; milliseconds since 1970 UTC.
    """

    case_id: str
    result: ReviewedAs
    verdict: Verdict | None
    pipeline: str
    tenant: str
    event_id: str
    at_ms: int


class StepAnswer(NamedTuple):
    """A person's answer to a parked step, on `.answers`, in the partition of its lane.

    Attributes:
        step_id: that waits.
        asked: the person, as the pipeline names them.
        score: None where there is no answer, and `failure` says why.
        evidence: who said so, and their comment.
        waited_ms: how long the case was open.
    """

    case_id: str
    step_id: str
    asked: str
    score: float | None
    failure: FailureKind | None
    evidence: str
    waited_ms: int
