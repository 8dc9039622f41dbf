"""What people are asked and what they say, between bytes and values.

Each body names its `kind`, but for the review case, which is older and has a `decision`: what
escalation refused comes back on one redrive topic, whatever it was.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.decision import Decision
from batuta.schemas.decision_codec import answer_body, answer_of, decode_decision
from batuta.schemas.errors import FailureKind
from batuta.schemas.label_codec import kind_of
from batuta.schemas.message_codec import decode_case
from batuta.schemas.message_headers import headers_of
from batuta.schemas.message_reading import Messages, numbers_of, read_all, read_message
from batuta.schemas.record import Output, Record
from batuta.schemas.review import (
    ANSWER_CHARACTERS_MAX,
    CRITIQUE_CHARACTERS_MAX,
    REVIEWED_VERSION,
    STEP_ANSWER_VERSION,
    STEP_CASE_VERSION,
    VERDICT_VERSION,
    Case,
    FailedAnswer,
    Reviewed,
    ReviewedAs,
    Says,
    StepAnswer,
    StepCase,
    Verdict,
)
from batuta.schemas.times import EventTime, rfc3339, time_ms
from batuta.schemas.wire import Code, ModelAnswerWire

__all__ = [
    "FailedAnswerWire",
    "ReviewedWire",
    "StepCaseWire",
    "VerdictWire",
    "decode_any_case",
    "decode_escalation",
    "decode_reviewed",
    "decode_verdict",
    "encode_reviewed",
    "encode_step_answer",
    "encode_step_case",
    "encode_verdict",
    "read_step_answer",
]

#: A reviewer's name and comment are people's input as well.
_NAME_MAX: Final = 200
_COMMENT_MAX: Final = 4_000


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    version: Annotated[int, Field(ge=1, le=1)]


class FailedAnswerWire(BaseModel):
    """The answer that a person is to correct; it is shown, and acts nowhere."""

    model_config = ConfigDict(title="FailedAnswer", extra="ignore", strict=True)

    at: Annotated[Code, Field(description="the checkpoint: models, or a step of a plan")]
    reasons: Annotated[
        tuple[Code, ...], Field(min_length=1, description="why it did not pass, first check first")
    ]
    critique: Annotated[
        str, Field(max_length=CRITIQUE_CHARACTERS_MAX, description="the same in words")
    ] = ""
    model: Annotated[str, Field(description="the version that gave it; empty: several did")] = ""
    text: Annotated[
        str, Field(max_length=ANSWER_CHARACTERS_MAX, description="what it said, JSON if no text")
    ] = ""
    score: Annotated[float | None, Field(ge=0, le=1)] = None
    taint: Annotated[tuple[Code, ...], Field(description="what may be wrong with it")] = ()
    attempts: Annotated[int, Field(ge=0, description="to correct it, before")] = 0


class StepCaseWire(_Wire):
    """A step of a plan that asks a person; its event waits for the answer."""

    model_config = ConfigDict(title="StepCase")

    kind: Literal["step_case"]
    case_id: Annotated[Code, Field(description="stable over retry and replay")]
    queue: Annotated[Code, Field(description="the reviewers it is for")]
    opened_at: EventTime
    due_at: Annotated[EventTime, Field(description="a later answer counts as none")]
    asked: Annotated[Code, Field(description="as the pipeline names the person")]
    step_id: Annotated[Code, Field(description="the step that waits")]
    partition: Annotated[int, Field(ge=0, description="of the lane where it waits")]
    pipeline: Code
    pipeline_version: Annotated[int, Field(ge=1)]
    tenant: Code
    event_id: Code
    entity: Annotated[Code, Field(description="what the event is about: the source's key")]
    event_time: EventTime
    plan: Annotated[str, Field(description="that the event follows")]
    data: Annotated[dict[str, object], Field(description="the event's payload")]
    features: Annotated[dict[str, float | None], Field(description="what models see of it")]
    answers: Annotated[
        tuple[ModelAnswerWire, ...], Field(description="of models that were asked before")
    ] = ()
    failed: Annotated[
        FailedAnswerWire | None, Field(description="the answer that is to be corrected")
    ] = None


class VerdictWire(_Wire):
    """What a person says of a case."""

    model_config = ConfigDict(title="Verdict")

    kind: Literal["verdict"]
    case_id: Code
    verdict: Says
    score: Annotated[
        float | None, Field(ge=0, le=1, description="else 0 for approve, 1 for block")
    ] = None
    by: Annotated[str, Field(min_length=1, max_length=_NAME_MAX, description="who says it")]
    comment: Annotated[str, Field(max_length=_COMMENT_MAX)] = ""
    given_at: EventTime


class ReviewedWire(_Wire):
    """What became of a verdict, or of a case that none came for."""

    model_config = ConfigDict(title="Reviewed")

    kind: Literal["reviewed"]
    case_id: Code
    result: ReviewedAs
    verdict: VerdictWire | None
    pipeline: Code
    tenant: str
    event_id: str
    at: EventTime


class _StepAnswerWire(_Wire):
    kind: Literal["answer"]
    case_id: Code
    step_id: Code
    asked: Code
    score: Annotated[float | None, Field(ge=0, le=1)]
    failure: FailureKind | None
    evidence: str
    waited_ms: int


def encode_step_case(case: StepCase, topic: str) -> Output:
    """Write a question to a person, keyed by its id."""
    body: dict[str, object] = {
        "version": STEP_CASE_VERSION,
        "kind": "step_case",
        "case_id": case.case_id,
        "queue": case.queue,
        "opened_at": rfc3339(case.opened_at_ms),
        "due_at": rfc3339(case.due_at_ms),
        "asked": case.asked,
        "step_id": case.step_id,
        "partition": case.partition,
        "pipeline": case.pipeline,
        "pipeline_version": case.pipeline_version,
        "tenant": case.tenant,
        "event_id": case.event_id,
        "entity": case.entity,
        "event_time": rfc3339(case.event_time_ms),
        "plan": case.plan,
        "data": case.data,
        "features": case.features,
        "answers": [answer_body(answer) for answer in case.answers],
    }
    if case.failed is not None:
        body["failed"] = case.failed._asdict()
    headers = headers_of("batuta.step_case.v1", case.pipeline, case.tenant)
    key = case.case_id.encode()
    return Output(topic, key, orjson.dumps(body), (*headers, ("ce_id", key)))


def encode_verdict(verdict: Verdict, topic: str) -> Output:
    """Write what a person says, keyed by the case's id."""
    return Output(topic, verdict.case_id.encode(), orjson.dumps(_verdict_body(verdict)))


def encode_reviewed(reviewed: Reviewed, topic: str) -> Output:
    """Write what became of a verdict or of a case, keyed by the case's id."""
    verdict = reviewed.verdict
    body = {
        "version": REVIEWED_VERSION,
        "kind": "reviewed",
        "case_id": reviewed.case_id,
        "result": reviewed.result,
        "verdict": None if verdict is None else _verdict_body(verdict),
        "pipeline": reviewed.pipeline,
        "tenant": reviewed.tenant,
        "event_id": reviewed.event_id,
        "at": rfc3339(reviewed.at_ms),
    }
    return Output(topic, reviewed.case_id.encode(), orjson.dumps(body))


def encode_step_answer(answer: StepAnswer, topic: str, partition: int) -> Output:
    """Write an answer into the partition of the lane where its step waits."""
    body = {"version": STEP_ANSWER_VERSION, "kind": "answer", **answer._asdict()}
    return Output(topic, answer.case_id.encode(), orjson.dumps(body), (), partition)


def read_step_answer(record: Record) -> StepAnswer:
    """Read one answer to a step.

    Raises:
        RefusedEventError: it is none of a version known here.
    """
    wire = read_message(_StepAnswerWire, record)
    return StepAnswer(
        wire.case_id,
        wire.step_id,
        wire.asked,
        wire.score,
        wire.failure,
        wire.evidence,
        wire.waited_ms,
    )


def decode_verdict(record: Record) -> Verdict:
    """Read one verdict.

    Raises:
        RefusedEventError: it is not a verdict of a version known here.
    """
    return _verdict(read_message(VerdictWire, record))


def decode_reviewed(record: Record) -> Reviewed:
    """Read what became of a verdict or of a case.

    Raises:
        RefusedEventError: it is none of a version known here.
    """
    wire = read_message(ReviewedWire, record)
    verdict = None if wire.verdict is None else _verdict(wire.verdict)
    at_ms = time_ms(wire.at)
    return Reviewed(
        wire.case_id, wire.result, verdict, wire.pipeline, wire.tenant, wire.event_id, at_ms
    )


def decode_any_case(record: Record) -> Case:
    """Read one case of `.escalations`, of either kind.

    Raises:
        RefusedEventError: it is no case of a version known here.
    """
    return decode_case(record) if kind_of(record) != "step_case" else _step_case(record)


def decode_escalation(
    records: Sequence[Record], _now_ms: int = 0
) -> Messages[Decision | Case | Verdict]:
    """Read a batch of what escalation reads: decisions, cases and verdicts."""
    return read_all(_read_either, records)


def _read_either(record: Record) -> Decision | Case | Verdict:
    if record.topic.endswith(".decisions"):
        return decode_decision(record)
    kind = kind_of(record)
    if kind == "verdict" or record.topic.endswith(".verdicts"):
        return decode_verdict(record)
    if kind == "step_case":
        return _step_case(record)
    case = record.topic.endswith(".escalations") or b'"case_id"' in (record.value or b"")
    return decode_case(record) if case else decode_decision(record)


def _step_case(record: Record) -> StepCase:
    wire = read_message(StepCaseWire, record)
    return StepCase(
        case_id=wire.case_id,
        queue=wire.queue,
        opened_at_ms=time_ms(wire.opened_at),
        due_at_ms=time_ms(wire.due_at),
        asked=wire.asked,
        step_id=wire.step_id,
        partition=wire.partition,
        pipeline=wire.pipeline,
        pipeline_version=wire.pipeline_version,
        tenant=wire.tenant,
        event_id=wire.event_id,
        entity=wire.entity,
        event_time_ms=time_ms(wire.event_time),
        plan=wire.plan,
        data=wire.data,
        features=numbers_of(wire.features),
        answers=tuple(answer_of(answer) for answer in wire.answers),
        failed=None if wire.failed is None else FailedAnswer(**wire.failed.model_dump()),
    )


def _verdict_body(verdict: Verdict) -> dict[str, object]:
    return {
        "version": VERDICT_VERSION,
        "kind": "verdict",
        "case_id": verdict.case_id,
        "verdict": verdict.verdict,
        "score": verdict.score,
        "by": verdict.by,
        "comment": verdict.comment,
        "given_at": rfc3339(verdict.given_at_ms),
    }


def _verdict(wire: VerdictWire) -> Verdict:
    given_at_ms = time_ms(wire.given_at)
    return Verdict(wire.case_id, wire.verdict, wire.by, given_at_ms, wire.score, wire.comment)
