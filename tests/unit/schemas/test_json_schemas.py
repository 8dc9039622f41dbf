"""The exported schemas accept what we write and refuse what we refuse."""

from typing import get_args

import orjson
import pytest
from jsonschema import Draft202012Validator, ValidationError

from batuta.schemas.action import Action
from batuta.schemas.codec import (
    encode_action,
    encode_case,
    encode_decision,
    encode_notification,
    encode_reviewed,
    encode_step_case,
    encode_verdict,
)
from batuta.schemas.decision import CheckResult, Correction, Decision, ModelAnswer
from batuta.schemas.fraud import Transaction
from batuta.schemas.json_schemas import MESSAGES, MessageKind, data_schema, json_schema
from batuta.schemas.notification import Notification
from batuta.schemas.record import Output
from batuta.schemas.review import FailedAnswer, ReviewCase, Reviewed, StepCase, Verdict

DECISION = Decision(
    "tx-1",
    "fraud",
    1,
    "default",
    "c1",
    0,
    1,
    "block",
    1.0,
    ("score_high",),
    "m",
    {},
    "0" * 64,
    control_offset=7,
    checks=(CheckResult("models", "range"),),
    taint=("outside_text",),
    corrections=(Correction("reply", 1, "retry", ("tone_shouting",), "passed"),),
)
ACTION = Action(
    *("a", "fraud", 1, "default", "tx-1", "c1", "block_card", 1, ("score_high",), 1),
    content={"text": "A reply."},
)
WRITTEN: dict[MessageKind, Output] = {
    "decision": encode_decision(DECISION, "t"),
    "action": encode_action(ACTION, "t"),
    "review_case": encode_case(ReviewCase("c", "q", 1, 2, DECISION), "t"),
    "step_case": encode_step_case(
        StepCase(
            "c",
            "q",
            1,
            2,
            "analyst",
            "tx-1",
            3,
            "fraud",
            1,
            "default",
            "tx-1",
            "c1",
            0,
            "deep",
            {"amount": 1.0},
            {"amount": 1.0},
            (ModelAnswer("forest", "forest@0", 0.5, 0.5),),
            FailedAnswer("deep", ("tone_shouting",), "tone_shouting: write calmly"),
        ),
        "t",
    ),
    "verdict": encode_verdict(Verdict("c", "block", "ada", 1), "t"),
    "reviewed": encode_reviewed(
        Reviewed("c", "answered", Verdict("c", "block", "ada", 1), "fraud", "default", "tx-1", 2),
        "t",
    ),
    "notification": encode_notification(
        Notification("n", "fraud", "default", "info", "t", "s", "tx-1", {"a": "b"}, 1), "t"
    ),
}


@pytest.mark.parametrize("kind", get_args(MessageKind))
def test_a_schema_accepts_what_is_written(kind: MessageKind) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:batuta:{kind}:v{MESSAGES[kind][1]}"
    Draft202012Validator(schema).validate(orjson.loads(WRITTEN[kind].value or b""))


@pytest.mark.parametrize("kind", get_args(MessageKind))
def test_a_schema_names_and_describes_every_field_that_is_written(kind: MessageKind) -> None:
    properties = json_schema(kind)["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == list(orjson.loads(WRITTEN[kind].value or b""))


@pytest.mark.parametrize("change", [{"version": 3}, {"score": 1.5}, {"outcome": "maybe"}])
def test_a_schema_refuses_what_is_refused(change: dict[str, object]) -> None:
    decision = orjson.loads(WRITTEN["decision"].value or b"") | change
    with pytest.raises(ValidationError):
        Draft202012Validator(json_schema("decision")).validate(decision)


def test_the_data_of_an_event_has_a_schema_too() -> None:
    schema = data_schema(Transaction)
    Draft202012Validator.check_schema(schema)
    event = {
        "transaction_id": "tx-000003527",
        "event_time": "2018-04-01T10:17:43Z",
        "card_id": "c3774",
        "terminal_id": "t3059",
        "amount": 225.41,
        "currency": "EUR",
        "channel": "pos",
    }
    Draft202012Validator(schema).validate(event)
    for change in ({"event_time": "yesterday"}, {"amount": "225"}, {"card_id": ""}):
        with pytest.raises(ValidationError):
            Draft202012Validator(schema).validate(event | change)
