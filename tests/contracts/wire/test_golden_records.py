"""Bytes of each message and version: written exactly so, read exactly so, for ever.

A golden file never changes. A message that must change gets a new version with a file of its own,
and readers keep reading the old one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from batuta.schemas import codec
from batuta.schemas.action import Action
from batuta.schemas.cloudevents import Attributes
from batuta.schemas.codec import EventCodec, Mode, encode_event
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import CheckResult, Correction, Decision, ModelAnswer, Selection
from batuta.schemas.fraud import Transaction
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import EventIndex, Label, LabelOutcome
from batuta.schemas.lease import ClosedLease, LeaseGrant, LeaseRequest, LimitChange
from batuta.schemas.notification import Notification
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Output, Record
from batuta.schemas.review import (
    FailedAnswer,
    ReviewCase,
    Reviewed,
    StepAnswer,
    StepCase,
    Verdict,
)

Golden = Callable[[str], Output]

TIME_MS: Final = 1_522_577_863_000
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DECISION: Final = Decision(
    event_id="tx-000003527",
    pipeline="fraud",
    pipeline_version=1,
    tenant="acme",
    entity="c3774",
    event_time_ms=TIME_MS,
    decided_at_ms=TIME_MS + 52,
    outcome="review",
    score=0.71,
    reasons=("score_high", "large_amount"),
    model="forest@5f1d0c9a7b3e",
    features={"amount": 225.41, "card_count_1d": 3.0},
    input_sha256="1f825aa2f0020ef7cf91dfa30da4668d791c5d4824fc8e41354b89ec05795ab3",
)
CHOSEN: Final = DECISION._replace(
    model="forest@5f1d0c9a7b3e",
    selection=Selection("deep", "weights", "no rule narrows", 0.25, {"fast": 0.75, "deep": 0.25}),
    answers=(
        ModelAnswer("forest", "forest@5f1d0c9a7b3e", 0.71, 0.71, "", 2, 10_000, "EUR", "amount"),
        ModelAnswer("sequence", "sequence@0c9a7b3e5f1d", None, None, "timeout", 150),
    ),
    fallback=True,
)
_FAILED: Final = ("tone_shouting", "claim_ungrounded")
CORRECTED: Final = CHOSEN._replace(
    checks=(CheckResult("deep", "tone"), CheckResult("deep", "grounding")),
    corrections=(
        Correction("deep", 1, "retry", _FAILED, "skipped", "no_time", critique="write calmly"),
        Correction(
            *("deep", 2, "model:stronger", _FAILED, "failed", "claim_ungrounded"),
            *("stronger@0c9a7b3e5f1d", "write calmly", 0.0, 31, 20_000, "EUR", 0.625),
        ),
        Correction("deep", 3, "human:desk", _FAILED[1:], "passed", "", "desk@review", score=0.5),
    ),
)
TOLD: Final = CHOSEN._replace(
    answers=(
        ModelAnswer(
            *("intake", "intake@5f1d0c9a7b3e", 0.9, 0.9, "", 12, 0, "", "refund"),
            taint=("outside_text",),
            value={"intent": "refund", "language": "de", "amounts": [12.5, None]},
        ),
        ModelAnswer("drafter", "drafter@0c9a7b3e5f1d", 0.5, 0.5, value="Dear \u00dc, \u2026"),
    ),
)
CASE: Final = ReviewCase(
    case_id="4f0c9a7b3e5f1d0c9a7b3e5f1d0c9a7b",
    queue="fraud_review",
    opened_at_ms=TIME_MS + 60,
    due_at_ms=TIME_MS + 1_800_060,
    decision=CHOSEN,
)
#: As the release before wrote them: read for ever, written no more.
OLD: Final[dict[str, tuple[Callable[[Record], object], object]]] = {
    "decision-v1": (codec.decode_decision, DECISION),
    "review_case-v1": (codec.decode_case, replace(CASE, decision=DECISION)),
}
STEP_CASE: Final = StepCase(
    case_id="7b3e5f1d4f0c9a7b3e5f1d0c9a7b4f0c",
    queue="fraud-review",
    opened_at_ms=TIME_MS + 60,
    due_at_ms=TIME_MS + 1_800_060,
    asked="analyst",
    step_id="tx-000003527",
    partition=3,
    pipeline="fraud",
    pipeline_version=1,
    tenant="acme",
    event_id="tx-000003527",
    entity="c3774",
    event_time_ms=TIME_MS,
    plan="deep",
    data={"transaction_id": "tx-000003527", "amount": 225.41},
    features={"amount": 225.41, "card_count_1d": 3.0},
    answers=CHOSEN.answers,
)
#: A reader of the release before leaves `failed` out.
STEP_CASE_FAILED: Final = replace(
    STEP_CASE,
    failed=FailedAnswer(
        *("deep", _FAILED, "tone_shouting, claim_ungrounded: write calmly"),
        *("stronger@0c9a7b3e5f1d", "Send it to Zürich!!!", 0.31, ("outside_text",), 2),
    ),
)
VERDICT: Final = Verdict(
    case_id="7b3e5f1d4f0c9a7b3e5f1d0c9a7b4f0c",
    verdict="block",
    by="ada",
    given_at_ms=TIME_MS + 300_000,
    score=0.9,
    comment="the till in Zürich is known",
)
REVIEWED: Final = Reviewed(
    case_id="7b3e5f1d4f0c9a7b3e5f1d0c9a7b4f0c",
    result="answered",
    verdict=VERDICT,
    pipeline="fraud",
    tenant="acme",
    event_id="tx-000003527",
    at_ms=TIME_MS + 300_020,
)
STEP_ANSWER: Final = StepAnswer(
    case_id="7b3e5f1d4f0c9a7b3e5f1d0c9a7b4f0c",
    step_id="tx-000003527",
    asked="analyst",
    score=0.9,
    failure=None,
    evidence="ada: the till in Zürich is known",
    waited_ms=299_960,
)
ACTION: Final = Action(
    action_id="0c9a7b3e5f1d0c9a7b3e5f1d4f0c9a7b",
    pipeline="fraud",
    pipeline_version=1,
    tenant="acme",
    event_id="tx-000003527",
    entity="c3774",
    action="block_card",
    action_version=2,
    reasons=("score_very_high", "large_amount"),
    decided_at_ms=TIME_MS + 52,
)
NOTIFICATION: Final = Notification(
    notification_id="9a7b3e5f1d0c9a7b3e5f1d0c9a7b4f0c",
    pipeline="fraud",
    tenant="default",
    severity="critical",
    title="Card blocked",
    summary="Event tx-000003527 was blocked: score_high, at the till in Zürich.",
    event_id="tx-000003527",
    labels={"outcome": "block", "reason": "score_high"},
    created_at_ms=TIME_MS + 60,
)
INGESTED: Final = Ingested(
    event_id="tx-000003527",
    entity="c3774",
    scoring_key="t3059",
    event_time_ms=TIME_MS,
    published_ms=TIME_MS + 20,
    tenant="default",
    data={"transaction_id": "tx-000003527", "amount": 225.41},
    features={"card_count_1d": 3.0, "card_mean_amount_1d": 80.5},
    traceparent=TRACE,
)
LABEL: Final = Label("tx-000003527", "acme", label=True, label_time_ms=TIME_MS + 604_800_000)
INDEX: Final = EventIndex(
    event_ids=("tx-000003527", "tx-000003529"),
    tenants=("acme", "default"),
    scoring_keys=("t3059", "t17"),
    event_times_ms=(TIME_MS, TIME_MS + 1_000),
)
OUTCOME: Final = LabelOutcome(
    event_id="tx-000003527",
    tenant="acme",
    scoring_key="t3059",
    event_time_ms=TIME_MS,
    label=False,
    previous=True,
    label_time_ms=TIME_MS + 604_800_000,
)
REQUEST: Final = LeaseRequest("daily/acme", 3, 17, 500_000, 800, (ClosedLease(16, 499_200),))
LIMIT: Final = LimitChange("daily/acme", 50_000_000_000)
GRANT: Final = LeaseGrant("daily/acme", 3, 17, 500_000, TIME_MS, "warn", 40_000_000, 50_000_000)
DEAD_LETTER: Final = DeadLetter(
    record=Record(
        topic="fraud.events",
        partition=3,
        offset=17,
        timestamp_ms=TIME_MS + 20,
        key=b"c3774",
        value=b'{"card_id": "\xff"}',
        headers=(("ce_id", b"tx-000003527"), ("batuta-deadletter-version", b"0")),
    ),
    stage="ingestion",
    reason="bad_utf8",
    detail="the value is not UTF-8: byte 13 is 0xff",
    refused_at_ms=TIME_MS + 60,
    path="",
    attempts=1,
)
SOURCE: Final = Source(key_field="card_id", time_field="event_time")
DOOR: Final = EventCodec(SOURCE, Transaction)
DATA: Final = (
    b'{"transaction_id":"tx-000003527","event_time":"2018-04-01T10:17:43Z","card_id":"c3774",'
    b'"terminal_id":"t3059","amount":225.41,"currency":"EUR","channel":"pos"}'
)
EVENT: Final = DOOR.wrap(
    Transaction.model_validate_json(DATA),
    Attributes("4711", "/shop/tills", "card.transaction", "acme", TRACE),
)
MODES: Final[dict[str, Mode]] = {"event-binary-v1": "binary", "event-structured-v1": "structured"}


def _record(output: Output) -> Record:
    return Record(output.topic, 0, 0, TIME_MS, output.key, output.value, output.headers)


MESSAGES: Final[dict[str, tuple[Output, Callable[[Record], object], object]]] = {
    "decision-v2": (
        codec.encode_decision(CHOSEN, "fraud.decisions"),
        codec.decode_decision,
        CHOSEN,
    ),
    "decision_corrected-v2": (
        codec.encode_decision(CORRECTED, "fraud.decisions"),
        codec.decode_decision,
        CORRECTED,
    ),
    "decision_told-v2": (
        codec.encode_decision(TOLD, "fraud.decisions"),
        codec.decode_decision,
        TOLD,
    ),
    "action-v1": (
        codec.encode_action(ACTION, "fraud.actions"),
        codec.decode_action,
        ACTION,
    ),
    "review_case-v2": (
        codec.encode_case(CASE, "fraud.escalations"),
        codec.decode_case,
        CASE,
    ),
    "step_case-v1": (
        codec.encode_step_case(STEP_CASE, "fraud.escalations"),
        codec.decode_any_case,
        STEP_CASE,
    ),
    "step_case_failed-v1": (
        codec.encode_step_case(STEP_CASE_FAILED, "fraud.escalations"),
        codec.decode_any_case,
        STEP_CASE_FAILED,
    ),
    "verdict-v1": (
        codec.encode_verdict(VERDICT, "fraud.verdicts"),
        codec.decode_verdict,
        VERDICT,
    ),
    "reviewed-v1": (
        codec.encode_reviewed(REVIEWED, "fraud.reviewed"),
        codec.decode_reviewed,
        REVIEWED,
    ),
    "step_answer-v1": (
        codec.encode_step_answer(STEP_ANSWER, "fraud.answers", 3),
        lambda record: codec.decode_scoring([record]).items[0],
        STEP_ANSWER,
    ),
    "notification-v1": (
        codec.encode_notification(NOTIFICATION, "fraud.notifications"),
        codec.decode_notification,
        NOTIFICATION,
    ),
    "dead_letter-v1": (
        codec.encode_dead_letter(DEAD_LETTER, "fraud.deadletters"),
        codec.decode_dead_letter,
        DEAD_LETTER,
    ),
    "label-v1": (
        codec.encode_label(LABEL, "fraud.labels"),
        lambda record: codec.decode_learning([record]).items[0],
        LABEL,
    ),
    "event_index-v1": (
        codec.encode_index(INDEX, "fraud.index", 3),
        lambda record: codec.decode_learning([record]).items[0],
        INDEX,
    ),
    "outcome-v1": (
        codec.encode_outcome(OUTCOME, "fraud.outcomes"),
        lambda record: codec.decode_scoring([record]).items[0],
        OUTCOME,
    ),
    "lease_request-v1": (
        codec.encode_lease_request(REQUEST, "fraud.leases"),
        lambda record: codec.decode_budgeting([record]).items[0],
        REQUEST,
    ),
    "limit_change-v1": (
        codec.encode_limit_change(LIMIT, "fraud.leases"),
        lambda record: codec.decode_budgeting([record]).items[0],
        LIMIT,
    ),
    "lease_grant-v1": (
        codec.encode_lease_grant(GRANT, "fraud.grants"),
        lambda record: codec.decode_scoring([record]).items[0],
        GRANT,
    ),
    "ingested-v1": (
        codec.encode_ingested(INGESTED, "fraud.ingested"),
        lambda record: codec.decode_ingested([record]).items[0],
        INGESTED,
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_as_its_golden_record(golden: Golden, name: str) -> None:
    assert MESSAGES[name][0] == golden(name)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_record_is_read_as_its_message(golden: Golden, name: str) -> None:
    _, decode, message = MESSAGES[name]
    assert decode(_record(golden(name))) == message


@pytest.mark.parametrize(
    ("name", "message"),
    {
        "decision-v2": CHOSEN, "review_case-v2": CASE, "step_case-v1": STEP_CASE,
        "verdict-v1": VERDICT,
    }.items(),
)  # fmt: skip
@pytest.mark.parametrize("topic", ["", "fraud-escalation.redrive"])
def test_escalation_tells_what_it_reads_apart_also_where_it_comes_back(
    golden: Golden, name: str, message: object, topic: str
) -> None:
    record = _record(golden(name))
    record = record._replace(topic=topic or record.topic)
    assert codec.decode_escalation([record]).items == [message]


@pytest.mark.parametrize("name", OLD)
def test_a_golden_record_of_an_earlier_version_is_read(golden: Golden, name: str) -> None:
    decode, message = OLD[name]
    assert decode(_record(golden(name))) == message


@pytest.mark.parametrize("name", MODES)
def test_an_event_is_written_as_its_golden_record(golden: Golden, name: str) -> None:
    assert encode_event(EVENT, "fraud.events", MODES[name]) == golden(name)


@pytest.mark.parametrize("name", MODES)
def test_a_golden_event_is_read(golden: Golden, name: str) -> None:
    decoded = DOOR.decode([_record(golden(name))], TIME_MS)
    assert decoded.events == [EVENT]


def test_a_bare_event_is_written_and_read(golden: Golden) -> None:
    door = EventCodec(SOURCE.model_copy(update={"id_field": "transaction_id"}), Transaction)
    event = door.wrap(EVENT.data, Attributes())
    assert encode_event(event, "fraud.events", "json") == golden("event-json-v1")
    assert door.decode([_record(golden("event-json-v1"))], TIME_MS).events == [event]


def test_every_golden_file_is_held(golden_names: set[str]) -> None:
    assert golden_names == {*MESSAGES, *OLD, *MODES, "event-json-v1"}
