"""Public messages between bytes and values: decisions, actions, review cases, notifications.

JSON that anyone can read, with CloudEvents 1.0 binary mode headers around it.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import orjson

from batuta.schemas.action import ACTION_VERSION, Action
from batuta.schemas.decision import (
    DECISION_VERSION,
    CheckResult,
    Correction,
    Decision,
    ModelAnswer,
    Selection,
)
from batuta.schemas.event import DEFAULT_TENANT
from batuta.schemas.json_rows import json_rows
from batuta.schemas.message_reading import Messages, numbers_of, read_all, read_message
from batuta.schemas.notification import NOTIFICATION_VERSION, Notification
from batuta.schemas.record import Headers, Output, OutputColumns, Record
from batuta.schemas.review import REVIEW_CASE_VERSION, ReviewCase
from batuta.schemas.times import rfc3339, time_ms
from batuta.schemas.wire import (
    ActionWire,
    CorrectionWire,
    DecisionWire,
    ModelAnswerWire,
    NotificationWire,
    ReviewCaseWire,
    SelectionWire,
)

__all__ = [
    "answer_body",
    "answer_of",
    "correction_body",
    "correction_of",
    "decode_action",
    "decode_case",
    "decode_cases",
    "decode_decision",
    "decode_decisions",
    "decode_notification",
    "decode_notifications",
    "encode_action",
    "encode_case",
    "encode_decision",
    "encode_decisions",
    "encode_notification",
    "headers_of",
]

#: What every attempt says, and what goes without saying of one.
_NEEDED = frozenset({"at", "attempt", "remedy", "failed", "result"})
_UNTRIED = Correction("", 1, "", (), "skipped")._asdict()


def encode_decision(decision: Decision, topic: str) -> Output:
    """Write a decision record, keyed by its entity."""
    return next(encode_decisions([decision], topic).outputs())


def encode_decisions(decisions: Sequence[Decision], topic: str) -> OutputColumns:
    """Write decision records, each keyed by its entity."""
    return OutputColumns(
        topic,
        keys=[decision.entity.encode() for decision in decisions],
        values=json_rows(_decision_bodies(decisions)),
        headers=[
            (
                *headers_of("batuta.decision.v2", decision.pipeline, decision.tenant),
                ("ce_id", decision.event_id.encode()),
            )
            for decision in decisions
        ],
    )


def encode_action(action: Action, topic: str) -> Output:
    """Write an action, keyed by its id."""
    headers = headers_of("batuta.action.v1", action.pipeline, action.tenant)
    body = {
        "version": ACTION_VERSION,
        "action_id": action.action_id,
        "pipeline": action.pipeline,
        "pipeline_version": action.pipeline_version,
        "tenant": action.tenant,
        "event_id": action.event_id,
        "entity": action.entity,
        "action": action.action,
        "action_version": action.action_version,
        "reasons": action.reasons,
        "decided_at": rfc3339(action.decided_at_ms),
        **({} if action.content is None else {"content": action.content}),
    }
    key = action.action_id.encode()
    return Output(topic, key, orjson.dumps(body), (*headers, ("ce_id", key)))


def encode_case(case: ReviewCase, topic: str) -> Output:
    """Write a review case, keyed by its id."""
    headers = headers_of("batuta.review_case.v2", case.decision.pipeline, case.decision.tenant)
    body = {
        "version": REVIEW_CASE_VERSION,
        "case_id": case.case_id,
        "queue": case.queue,
        "opened_at": rfc3339(case.opened_at_ms),
        "due_at": rfc3339(case.due_at_ms),
        "decision": next(_decision_bodies((case.decision,))),
    }
    key = case.case_id.encode()
    return Output(topic, key, orjson.dumps(body), (*headers, ("ce_id", key)))


def encode_notification(notification: Notification, topic: str) -> Output:
    """Write a notification, keyed by its pipeline, which owns grouping."""
    headers = headers_of("batuta.notification.v1", notification.pipeline, notification.tenant)
    body = {
        "version": NOTIFICATION_VERSION,
        "notification_id": notification.notification_id,
        "pipeline": notification.pipeline,
        "tenant": notification.tenant,
        "severity": notification.severity,
        "title": notification.title,
        "summary": notification.summary,
        "event_id": notification.event_id,
        "labels": notification.labels,
        "created_at": rfc3339(notification.created_at_ms),
    }
    ce_id = ("ce_id", notification.notification_id.encode())
    return Output(topic, notification.pipeline.encode(), orjson.dumps(body), (*headers, ce_id))


def decode_decision(record: Record) -> Decision:
    """Read one decision record.

    Raises:
        RefusedEventError: it is not a decision of a version known here.
    """
    return _decision(read_message(DecisionWire, record))


def decode_action(record: Record) -> Action:
    """Read one action.

    Raises:
        RefusedEventError: it is not an action of a version known here.
    """
    wire = read_message(ActionWire, record)
    return Action(
        action_id=wire.action_id,
        pipeline=wire.pipeline,
        pipeline_version=wire.pipeline_version,
        tenant=wire.tenant,
        event_id=wire.event_id,
        entity=wire.entity,
        action=wire.action,
        action_version=wire.action_version,
        reasons=wire.reasons,
        decided_at_ms=time_ms(wire.decided_at),
        content=wire.content,
    )


def decode_case(record: Record) -> ReviewCase:
    """Read one review case.

    Raises:
        RefusedEventError: it is not a review case of a version known here.
    """
    wire = read_message(ReviewCaseWire, record)
    opened_at_ms, due_at_ms = time_ms(wire.opened_at), time_ms(wire.due_at)
    return ReviewCase(wire.case_id, wire.queue, opened_at_ms, due_at_ms, _decision(wire.decision))


def decode_notification(record: Record) -> Notification:
    """Read one notification.

    Raises:
        RefusedEventError: it is not a notification of a version known here.
    """
    wire = read_message(NotificationWire, record)
    return Notification(
        notification_id=wire.notification_id,
        pipeline=wire.pipeline,
        tenant=wire.tenant,
        severity=wire.severity,
        title=wire.title,
        summary=wire.summary,
        event_id=wire.event_id,
        labels=wire.labels,
        created_at_ms=time_ms(wire.created_at),
    )


def decode_decisions(records: Sequence[Record], _now_ms: int = 0) -> Messages[Decision]:
    """Read a batch of decision records; what is none is refused."""
    return read_all(decode_decision, records)


def decode_cases(records: Sequence[Record], _now_ms: int = 0) -> Messages[ReviewCase]:
    """Read a batch of review cases; what is none is refused."""
    return read_all(decode_case, records)


def decode_notifications(records: Sequence[Record], _now_ms: int = 0) -> Messages[Notification]:
    """Read a batch of notifications; what is none is refused."""
    return read_all(decode_notification, records)


def _decision_bodies(decisions: Sequence[Decision]) -> Iterator[dict[str, object]]:
    """Yield what is written of decisions; what many share is written once."""
    # By identity: a batch holds on to each while it is written.
    selections: dict[int, object] = {}
    for decision in decisions:
        selection = decision.selection
        written = selections.get(id(selection))
        if written is None and selection is not None:
            written = orjson.Fragment(orjson.dumps(_selection_body(selection)))
            selections[id(selection)] = written
        yield _decision_body(decision, written)


def _decision_body(decision: Decision, selection: object) -> dict[str, object]:
    assert decision.reasons, decision.event_id
    assert 0.0 <= decision.score <= 1.0, decision
    body: dict[str, object] = {
        "version": DECISION_VERSION,
        "event_id": decision.event_id,
        "pipeline": decision.pipeline,
        "pipeline_version": decision.pipeline_version,
        "tenant": decision.tenant,
        "entity": decision.entity,
        "event_time": rfc3339(decision.event_time_ms),
        "decided_at": _clock_time(decision.decided_at_ms),
        "outcome": decision.outcome,
        "score": decision.score,
        "reasons": decision.reasons,
        "model": decision.model,
        "features": decision.features,
        "input_sha256": decision.input_sha256,
        "selection": selection,
        "answers": [answer_body(answer) for answer in decision.answers],
        "fallback": decision.fallback,
    }
    if decision.control_offset is not None:
        body["control_offset"] = decision.control_offset
    if decision.checks:
        body["checks"] = [_check_body(one) for one in decision.checks]
    if decision.corrections:
        body["corrections"] = [correction_body(one) for one in decision.corrections]
    if decision.taint:
        body["taint"] = decision.taint
    return body


def _check_body(result: CheckResult) -> dict[str, str]:
    """Return what there is: a check that passed has no reason."""
    at, check, reason = result
    body = {"at": at, "check": check}
    if reason:
        body["reason"] = reason
    return body


def correction_body(correction: Correction) -> dict[str, object]:
    """Return what there is of an attempt: one that was skipped has no score and no cost."""
    told = correction._asdict().items()
    return {key: value for key, value in told if key in _NEEDED or value != _UNTRIED[key]}


def _selection_body(selection: Selection) -> dict[str, object]:
    body: dict[str, object] = {
        "plan": selection.plan,
        "by": selection.by,
        "reason": selection.reason,
        "propensity": selection.propensity,
        "candidates": selection.candidates,
    }
    if selection.proposal:
        body["proposal"] = selection.proposal
    if selection.planning:
        body["planning"] = selection.planning
    return body


def answer_body(answer: ModelAnswer) -> dict[str, object]:
    """Return what there is: an answer has no failure, and most have no evidence."""
    name, model, score, confidence, failure, duration_ms, cost_nano, currency, *further = answer
    evidence, taint = further
    body: dict[str, object] = {"name": name, "model": model}
    if failure:
        body["failure"] = failure
    else:
        body["score"] = score
        body["confidence"] = confidence
    body["duration_ms"] = duration_ms
    if cost_nano:
        body["cost_nano"] = cost_nano
        body["currency"] = currency
    if evidence:
        body["evidence"] = evidence
    if taint:
        body["taint"] = taint
    return body


def _decision(wire: DecisionWire) -> Decision:
    return Decision(
        wire.event_id,
        wire.pipeline,
        wire.pipeline_version,
        wire.tenant,
        wire.entity,
        time_ms(wire.event_time),
        time_ms(wire.decided_at),
        wire.outcome,
        wire.score,
        wire.reasons,
        wire.model,
        numbers_of(wire.features),
        wire.input_sha256,
        selection=None if wire.selection is None else _selection(wire.selection),
        answers=tuple(answer_of(answer) for answer in wire.answers),
        fallback=wire.fallback,
        control_offset=wire.control_offset,
        checks=tuple(CheckResult(one.at, one.check, one.reason) for one in wire.checks),
        taint=wire.taint,
        corrections=tuple(correction_of(one) for one in wire.corrections),
    )


def correction_of(wire: CorrectionWire) -> Correction:
    """Return an attempt as it was read."""
    return Correction(
        wire.at,
        wire.attempt,
        wire.remedy,
        wire.failed,
        wire.result,
        wire.reason,
        wire.model,
        wire.critique,
        wire.score,
        wire.duration_ms,
        wire.cost_nano,
        wire.currency,
        wire.odds,
    )


def _selection(wire: SelectionWire) -> Selection:
    return Selection(
        wire.plan,
        wire.by,
        wire.reason,
        wire.propensity,
        wire.candidates,
        wire.proposal,
        wire.planning,
    )


def answer_of(wire: ModelAnswerWire) -> ModelAnswer:
    """Return a model's answer as it was read."""
    return ModelAnswer(
        wire.name,
        wire.model,
        wire.score,
        wire.confidence,
        wire.failure,
        wire.duration_ms,
        wire.cost_nano,
        wire.currency,
        wire.evidence,
        wire.taint,
    )


@lru_cache(maxsize=64)
def _clock_time(moment_ms: int) -> str:
    """Return a time that all of a batch share."""
    return rfc3339(moment_ms)


@lru_cache(maxsize=1024)
def headers_of(kind: str, pipeline: str, tenant: str) -> Headers:
    """Return the CloudEvents headers that stand around every message of one kind."""
    constant = (
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_source", f"/batuta/{pipeline}".encode()),
        ("content-type", b"application/json"),
    )
    return constant if tenant == DEFAULT_TENANT else (*constant, ("ce_tenant", tenant.encode()))
