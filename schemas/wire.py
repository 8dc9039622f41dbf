"""The public messages as they stand on the wire: what is validated on reading.

Their JSON Schemas are exported from these, so that what we accept and what we document is one.
Readers ignore fields they do not know, and refuse versions they do not know.
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from batuta.schemas.decision import Corrected, Outcome
from batuta.schemas.notification import Severity
from batuta.schemas.times import EventTime

__all__ = [
    "WRITTEN",
    "ActionWire",
    "Code",
    "CorrectionWire",
    "DecisionWire",
    "IngestedWire",
    "ModelAnswerWire",
    "NotificationWire",
    "ReviewCaseWire",
    "SelectionWire",
]

#: Where in a decision stands what models have written: it may repeat whatever the event says.
WRITTEN: Final = ("answers/evidence", "answers/value")

Code = Annotated[str, Field(min_length=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    # Not Literal[1], which takes true and 1.0 for 1.
    version: Annotated[int, Field(ge=1, le=1)]


class SelectionWire(BaseModel):
    """Which plan an event followed, and why that one."""

    model_config = ConfigDict(title="Selection", extra="ignore", strict=True)

    plan: Code
    by: Annotated[Code, Field(description="who chose: only, weights, rules, planner")]
    reason: Annotated[str, Field(description="why, in a few words")]
    propensity: Annotated[float, Field(ge=0, le=1, description="how likely this choice was")]
    candidates: Annotated[dict[str, float], Field(description="every plan, and how likely it was")]
    proposal: Annotated[str, Field(description="a planner's own plan, as JSON")] = ""
    planning: Annotated[str, Field(description="what became of a planner's proposal")] = ""
    planning_cost_nano: Annotated[
        int, Field(ge=0, description="of the planner's answers: part of what all answers cost")
    ] = 0
    planning_currency: Annotated[str, Field(description="ISO 4217")] = ""


class ModelAnswerWire(BaseModel):
    """What one model said about the event."""

    model_config = ConfigDict(title="ModelAnswer", extra="ignore", strict=True)

    name: Annotated[Code, Field(description="as the pipeline names the model")]
    model: Annotated[Code, Field(description="its version")]
    score: Annotated[float | None, Field(ge=0, le=1)] = None
    confidence: Annotated[float | None, Field(ge=0, le=1)] = None
    failure: Annotated[str, Field(description="why there is no answer")] = ""
    duration_ms: Annotated[int, Field(ge=0, description="of its call")] = 0
    cost_nano: Annotated[int, Field(ge=0, description="billionths of the currency")] = 0
    currency: Annotated[str, Field(description="ISO 4217")] = ""
    evidence: Annotated[str, Field(description="what the answer rests on")] = ""
    taint: Annotated[tuple[Code, ...], Field(description="what may be wrong with it")] = ()
    value: Annotated[JsonValue, Field(description="what it says beside the score")] = None


class CheckResultWire(BaseModel):
    """What one check has found."""

    model_config = ConfigDict(title="CheckResult", extra="ignore", strict=True)

    at: Annotated[Code, Field(description="the checkpoint: models, or a step of a plan")]
    check: Annotated[Code, Field(description="its name there")]
    reason: Annotated[str, Field(description="why the answer failed; empty: it passed")] = ""


class CorrectionWire(BaseModel):
    """One attempt to correct an answer that a checkpoint did not let pass."""

    model_config = ConfigDict(title="Correction", extra="ignore", strict=True)

    at: Annotated[Code, Field(description="the checkpoint: models, or a step of a plan")]
    attempt: Annotated[int, Field(ge=1, description="in the order they were taken up")]
    remedy: Annotated[Code, Field(description="retry, repair:NAME, model:NAME, human:NAME")]
    failed: Annotated[
        tuple[Code, ...], Field(min_length=1, description="why the answer before did not pass")
    ]
    result: Corrected
    reason: Annotated[str, Field(description="why it failed again, or was skipped")] = ""
    model: Annotated[str, Field(description="the version that answered")] = ""
    critique: Annotated[str, Field(description="what a model was told of the failure")] = ""
    score: Annotated[float | None, Field(ge=0, le=1, description="of the new answer")] = None
    duration_ms: Annotated[int, Field(ge=0)] = 0
    cost_nano: Annotated[int, Field(ge=0, description="part of what the answers cost")] = 0
    currency: Annotated[str, Field(description="ISO 4217")] = ""
    odds: Annotated[float, Field(ge=0, le=1, description="how likely it was to help")] = 0.5


class DecisionWire(_Wire):
    """What was decided about one event, and why; one per event."""

    model_config = ConfigDict(title="Decision")

    version: Annotated[int, Field(ge=1, le=2)]

    event_id: Annotated[Code, Field(description="the event decided about")]
    pipeline: Code
    pipeline_version: Annotated[int, Field(ge=1)]
    tenant: Code
    entity: Annotated[Code, Field(description="what the event is about: the source's key")]
    event_time: EventTime
    decided_at: EventTime
    outcome: Outcome
    score: Annotated[float, Field(ge=0, le=1, description="the plan's answer")]
    reasons: Annotated[
        tuple[Code, ...], Field(min_length=1, description="codes, the strongest first")
    ]
    model: Annotated[
        Code, Field(description="name@sha256[:12] of the models that answered, joined by +")
    ]
    features: Annotated[
        dict[str, float | None], Field(description="what the models saw; null is not a number")
    ]
    input_sha256: Annotated[
        str, Field(pattern="^[0-9a-f]{64}$", description="of the event's canonical payload")
    ]
    selection: Annotated[SelectionWire | None, Field(description="which plan, and why")] = None
    answers: Annotated[
        tuple[ModelAnswerWire, ...], Field(description="of every model that was asked")
    ] = ()
    fallback: Annotated[
        bool, Field(description="whether another answer stands for the intended one")
    ] = False
    control_offset: Annotated[
        int | None,
        Field(ge=0, description="behind the control record that made live what was asked"),
    ] = None
    checks: Annotated[
        tuple[CheckResultWire, ...], Field(description="what every checkpoint has found")
    ] = ()
    corrections: Annotated[
        tuple[CorrectionWire, ...], Field(description="what was tried where a check did not pass")
    ] = ()
    taint: Annotated[tuple[Code, ...], Field(description="what may be wrong with the answer")] = ()


class ActionWire(_Wire):
    """Something to be done to the world because of a decision."""

    model_config = ConfigDict(title="Action")

    action_id: Annotated[
        Code, Field(description="stable over retry and replay: an idempotency key")
    ]
    pipeline: Code
    pipeline_version: Annotated[int, Field(ge=1)]
    tenant: Code
    event_id: Annotated[Code, Field(description="the event decided about")]
    entity: Annotated[Code, Field(description="what the event is about: the source's key")]
    action: Annotated[Code, Field(description="as the pipeline names it")]
    action_version: Annotated[int, Field(ge=1)]
    reasons: Annotated[tuple[Code, ...], Field(min_length=1, description="the decision's codes")]
    decided_at: EventTime
    content: Annotated[
        JsonValue, Field(description="what the action carries; absent where it carries nothing")
    ] = None


class ReviewCaseWire(_Wire):
    """A decision that a person should look at."""

    model_config = ConfigDict(title="ReviewCase")

    version: Annotated[int, Field(ge=1, le=2)]

    case_id: Annotated[Code, Field(description="stable over retry and replay")]
    queue: Annotated[Code, Field(description="the reviewers it is for")]
    opened_at: EventTime
    due_at: EventTime
    decision: DecisionWire


class NotificationWire(_Wire):
    """What people should be told, and about which event."""

    model_config = ConfigDict(title="Notification")

    notification_id: Annotated[
        Code, Field(description="stable over retry and replay: an idempotency key")
    ]
    pipeline: Code
    tenant: Code
    severity: Severity
    title: Annotated[str, Field(description="one line")]
    summary: Annotated[str, Field(description="one sentence more")]
    event_id: Code
    labels: Annotated[dict[str, str], Field(description="what grouping and silencing go by")]
    created_at: EventTime


class IngestedWire(_Wire):
    """One event between ingestion and scoring; internal."""

    model_config = ConfigDict(title="Ingested")

    event_id: Code
    entity: Code
    scoring_key: Code
    event_time_ms: int
    published_ms: int
    tenant: Code
    data: dict[str, object]
    features: dict[str, float | None]
    traceparent: str = ""
