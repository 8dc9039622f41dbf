"""Public messages between bytes and values: actions, review cases, notifications.

JSON that anyone can read, with CloudEvents 1.0 binary mode headers around it. Decisions, which are
many, have `decision_codec`.
"""

from collections.abc import Sequence

import orjson

from batuta.schemas.action import ACTION_VERSION, Action
from batuta.schemas.decision_codec import decision_body, decision_of
from batuta.schemas.message_headers import headers_of
from batuta.schemas.message_reading import Messages, read_all, read_message
from batuta.schemas.notification import NOTIFICATION_VERSION, Notification
from batuta.schemas.record import Output, Record
from batuta.schemas.review import REVIEW_CASE_VERSION, ReviewCase
from batuta.schemas.times import rfc3339, time_ms
from batuta.schemas.wire import ActionWire, NotificationWire, ReviewCaseWire

__all__ = [
    "decode_action",
    "decode_case",
    "decode_cases",
    "decode_notification",
    "decode_notifications",
    "encode_action",
    "encode_case",
    "encode_notification",
]


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
        "decision": decision_body(case.decision),
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
    return ReviewCase(wire.case_id, wire.queue, opened_at_ms, due_at_ms, decision_of(wire.decision))


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


def decode_cases(records: Sequence[Record], _now_ms: int = 0) -> Messages[ReviewCase]:
    """Read a batch of review cases; what is none is refused."""
    return read_all(decode_case, records)


def decode_notifications(records: Sequence[Record], _now_ms: int = 0) -> Messages[Notification]:
    """Read a batch of notifications; what is none is refused."""
    return read_all(decode_notification, records)
