"""JSON Schemas of the public messages, so that users in any language can validate them."""

from typing import Final, Literal

from pydantic import BaseModel

from batuta.schemas.action import ACTION_VERSION
from batuta.schemas.decision import DECISION_VERSION
from batuta.schemas.notification import NOTIFICATION_VERSION
from batuta.schemas.review import (
    REVIEW_CASE_VERSION,
    REVIEWED_VERSION,
    STEP_CASE_VERSION,
    VERDICT_VERSION,
)
from batuta.schemas.review_codec import ReviewedWire, StepCaseWire, VerdictWire
from batuta.schemas.wire import ActionWire, DecisionWire, NotificationWire, ReviewCaseWire

__all__ = ["MESSAGES", "MessageKind", "data_schema", "json_schema"]

MessageKind = Literal[
    "decision", "action", "review_case", "step_case", "verdict", "reviewed", "notification"
]

#: The public messages: the model of each, and its version.
MESSAGES: Final[dict[MessageKind, tuple[type[BaseModel], int]]] = {
    "decision": (DecisionWire, DECISION_VERSION),
    "action": (ActionWire, ACTION_VERSION),
    "review_case": (ReviewCaseWire, REVIEW_CASE_VERSION),
    "step_case": (StepCaseWire, STEP_CASE_VERSION),
    "verdict": (VerdictWire, VERDICT_VERSION),
    "reviewed": (ReviewedWire, REVIEWED_VERSION),
    "notification": (NotificationWire, NOTIFICATION_VERSION),
}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: MessageKind) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a public message.

    >>> json_schema("decision")["title"]
    'Decision'
    """
    model, version = MESSAGES[kind]
    identity = f"urn:batuta:{kind}:v{version}"
    return {"$schema": _DIALECT, "$id": identity, **model.model_json_schema()}


def data_schema(model: type[BaseModel]) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of an event's data.

    >>> from batuta.schemas.fraud import FraudLabel
    >>> data_schema(FraudLabel)["required"]
    ['transaction_id', 'label_time', 'fraud']
    """
    return {"$schema": _DIALECT, **model.model_json_schema()}
