"""Each message reads back as it was written; unknown fields pass, unknown versions do not."""

from collections.abc import Callable
from math import isnan, nan

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.schemas import codec
from batuta.schemas.codec import Messages
from batuta.schemas.decision import CheckResult, Correction, Decision, ModelAnswer, Selection
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.ingested import Ingested
from batuta.schemas.notification import Notification
from batuta.schemas.record import Headers, Output, Record
from batuta.schemas.review import ReviewCase
from batuta.schemas.times import EARLIEST_MS, LATEST_MS

text = st.text(st.characters(codec="utf-8"), max_size=20)
code = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
moment = st.integers(EARLIEST_MS, LATEST_MS)
numbers = st.dictionaries(text, st.floats(allow_nan=False, allow_infinity=False), max_size=4)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: "inf" not in repr(value))
taints = st.lists(code, max_size=2, unique=True).map(tuple)
selections = st.builds(
    Selection,
    plan=code,
    by=code,
    reason=text,
    propensity=st.floats(0, 1),
    candidates=st.dictionaries(code, st.floats(0, 1), max_size=3),
    proposal=text,
    planning=text,
    planning_cost_nano=st.integers(0, 2**40),
    planning_currency=text,
)
answers = st.builds(
    ModelAnswer,
    name=code,
    model=code,
    score=st.floats(0, 1),
    confidence=st.floats(0, 1),
    failure=st.just(""),
    duration_ms=st.integers(0, 2**40),
    cost_nano=st.integers(1, 2**40),
    currency=code,
    evidence=text,
    taint=taints,
    value=plain,
) | st.builds(
    ModelAnswer,
    name=code,
    model=code,
    score=st.none(),
    confidence=st.none(),
    failure=code,
    duration_ms=st.just(0),
    cost_nano=st.just(0),
    currency=st.just(""),
    evidence=text,
    taint=taints,
    value=st.none(),
)
checks = st.builds(CheckResult, at=code, check=code, reason=st.just("") | code)
corrections = st.builds(
    Correction,
    at=code,
    attempt=st.integers(1, 99),
    remedy=code,
    failed=st.lists(code, min_size=1, max_size=2).map(tuple),
    result=st.sampled_from(["passed", "failed", "skipped"]),
    reason=text,
    model=text,
    critique=text,
    score=st.none() | st.floats(0, 1),
    duration_ms=st.integers(0, 2**40),
    cost_nano=st.integers(0, 2**40),
    currency=text,
    odds=st.floats(0, 1),
)
decisions = st.builds(
    Decision,
    event_id=code,
    pipeline=code,
    pipeline_version=st.integers(1, 2**31),
    tenant=code,
    entity=code,
    event_time_ms=moment,
    decided_at_ms=moment,
    outcome=st.sampled_from(["approve", "review", "block"]),
    score=st.floats(0, 1),
    reasons=st.lists(code, min_size=1, max_size=3).map(tuple),
    model=code,
    features=numbers,
    control_offset=st.none() | st.integers(0, 2**63 - 1),
    input_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    published_ms=st.just(0),
    # An action is a record of its own: a decision does not carry it.
    action=st.just(""),
    action_version=st.just(0),
    action_content=st.none(),
    selection=st.none() | selections,
    answers=st.lists(answers, max_size=3).map(tuple),
    fallback=st.booleans(),
    checks=st.lists(checks, max_size=2).map(tuple),
    taint=taints,
    corrections=st.lists(corrections, max_size=2).map(tuple),
)
cases = st.builds(
    ReviewCase, case_id=code, queue=code, opened_at_ms=moment, due_at_ms=moment, decision=decisions
)
notifications = st.builds(
    Notification,
    notification_id=code,
    pipeline=code,
    tenant=code,
    severity=st.sampled_from(["info", "warning", "critical"]),
    title=text,
    summary=text,
    event_id=code,
    labels=st.dictionaries(text, text, max_size=3),
    created_at_ms=moment,
)
ingested = st.builds(
    Ingested,
    event_id=code,
    entity=code,
    scoring_key=code,
    event_time_ms=moment,
    published_ms=moment,
    tenant=code,
    data=st.dictionaries(text, plain, max_size=3),
    features=numbers,
    traceparent=text,
    data_json=st.just(b""),
)
DECISION = Decision(
    event_id="tx-1",
    pipeline="fraud",
    pipeline_version=1,
    tenant="default",
    entity="c1",
    event_time_ms=1_522_577_863_000,
    decided_at_ms=1_522_577_863_052,
    outcome="approve",
    score=0.25,
    reasons=("score_low",),
    model="forest@5f1d0c9a7b3e",
    features={"amount": 225.41},
    input_sha256="0" * 64,
)


def _record(output: Output) -> Record:
    return Record(output.topic, 0, 0, 0, output.key, output.value, output.headers)


@given(decisions)
def test_a_decision_reads_back(decision: Decision) -> None:
    output = codec.encode_decision(decision, "fraud.decisions")
    assert output.key == decision.entity.encode()
    assert codec.decode_decision(_record(output)) == decision


@given(st.lists(decisions, max_size=4))
def test_decisions_written_together_are_those_written_one_by_one(batch: list[Decision]) -> None:
    """What shares a batch, and what only some of it have to say, changes no byte of a record."""
    columns = DecisionColumns.joined([DecisionColumns.of(batch[:2]), DecisionColumns.of(batch[2:])])
    together = codec.encode_decisions(columns, "decisions")
    assert list(together.outputs()) == [codec.encode_decision(one, "decisions") for one in batch]
    assert columns == batch
    assert [columns[place] for place in range(len(batch))] == batch
    assert columns[1:] == batch[1:]


@given(cases)
def test_a_case_reads_back(case: ReviewCase) -> None:
    output = codec.encode_case(case, "fraud.escalations")
    assert output.key == case.case_id.encode()
    assert codec.decode_case(_record(output)) == case


@given(notifications)
def test_a_notification_reads_back(notification: Notification) -> None:
    output = codec.encode_notification(notification, "fraud.notifications")
    assert output.key == notification.pipeline.encode()
    assert codec.decode_notification(_record(output)) == notification


@given(ingested)
def test_an_ingested_event_reads_back(message: Ingested) -> None:
    output = codec.encode_ingested(message, "fraud.ingested")
    assert output.key == message.scoring_key.encode()
    assert output.headers == ()
    assert codec.decode_ingested([_record(output)]) == Messages([message], [])


@given(ingested)
def test_the_canonical_payload_is_passed_on_as_it_is(message: Ingested) -> None:
    written = message._replace(data={}, data_json=orjson.dumps(message.data))
    (again,) = codec.decode_ingested([_record(codec.encode_ingested(written, "t"))]).items
    assert again == message


def test_a_whole_number_beyond_64_bits_is_a_double_after_ingestion() -> None:
    message = Ingested("tx-1", "c", "t", 1, 2, "default", {}, {}, data_json=b'{"n":%d}' % (2**70))
    (again,) = codec.decode_ingested([_record(codec.encode_ingested(message, "t"))]).items
    assert repr(again.data["n"]) == repr(float(2**70))


def test_a_feature_that_is_not_a_number_travels_as_null() -> None:
    output = codec.encode_decision(DECISION._replace(features={"a": nan, "b": 1.0}), "t")
    assert output.value is not None
    assert b'"features":{"a":null,"b":1.0}' in output.value
    features = codec.decode_decision(_record(output)).features
    assert isnan(features["a"])
    assert features["b"] == 1.0


def test_public_messages_carry_cloudevents_headers() -> None:
    expected: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"batuta.decision.v2"),
        ("ce_source", b"/batuta/fraud"),
        ("content-type", b"application/json"),
    )
    assert codec.encode_decision(DECISION, "t").headers == (*expected, ("ce_id", b"tx-1"))
    acme = codec.encode_decision(DECISION._replace(tenant="acme"), "t")
    assert acme.headers == (*expected, ("ce_tenant", b"acme"), ("ce_id", b"tx-1"))


@pytest.mark.parametrize(
    "change", [{"reasons": ()}, {"score": nan}, {"score": 1.5}, {"score": -0.1}]
)
def test_a_decision_that_breaks_our_promise_is_never_written(change: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        codec.encode_decision(DECISION._replace(**change), "t")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


KINDS = [
    pytest.param(codec.encode_decision(DECISION, "t"), codec.decode_decisions, id="decision"),
    pytest.param(
        codec.encode_case(ReviewCase("case-1", "fraud_review", 1, 2, DECISION), "t"),
        codec.decode_cases,
        id="case",
    ),
    pytest.param(
        codec.encode_notification(
            Notification("n", "fraud", "default", "info", "t", "s", "tx-1", {}, 1), "t"
        ),
        codec.decode_notifications,
        id="notification",
    ),
    pytest.param(
        codec.encode_ingested(Ingested("tx-1", "c", "t", 1, 2, "default", {}, {}), "t"),
        codec.decode_ingested,
        id="ingested",
    ),
]
ReadBatch = Callable[[list[Record]], Messages[object]]


@pytest.mark.parametrize(("output", "read"), KINDS)
def test_a_reader_ignores_fields_it_does_not_know(output: Output, read: ReadBatch) -> None:
    record = _record(output)
    later = orjson.dumps({**orjson.loads(output.value or b""), "since_version_1_1": [1]})
    messages = read([record, record._replace(value=later)])
    assert messages.items[0] == messages.items[1]


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (3, "read here, but version is the number 3"),
        ("1", "read here, but version is the text '1'"),
        (None, "read here, but version is null"),
        (..., "read here, but version is missing"),
    ],
)
@pytest.mark.parametrize(("output", "read"), KINDS)
def test_a_reader_refuses_a_version_it_does_not_know(
    output: Output, read: ReadBatch, version: object, sentence: str
) -> None:
    record = _record(output)
    changed = {**orjson.loads(output.value or b""), "version": version, "tenant": 5, "queue": 5}
    value = orjson.dumps({k: v for k, v in changed.items() if v is not ...})
    messages = read([record, record._replace(value=value), record])
    assert len(messages.items) == 2
    (refused,) = messages.refused
    assert refused.position == 1
    assert (refused.error.reason, refused.error.path) == ("unknown_version", "version")
    known = (
        "versions 1 to 2 are"
        if read in {codec.decode_decisions, codec.decode_cases}
        else "version 1 is"
    )
    assert refused.error.detail == f"{known} {sentence}"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("version", 2, "unknown_version"),
        ("version", True, "unknown_version"),
        ("version", 1.0, "unknown_version"),
        ("event_id", 1, "wrong_type"),
        ("event_id", "", "bad_value"),
        ("entity", None, "wrong_type"),
        ("scoring_key", ["t"], "wrong_type"),
        ("tenant", 5, "wrong_type"),
        ("event_time_ms", "1", "wrong_type"),
        ("published_ms", 1.5, "wrong_type"),
        ("data", [], "wrong_type"),
        ("features", {"a": "1"}, "wrong_type"),
        ("features", {"a": True}, "wrong_type"),
        ("traceparent", None, "wrong_type"),
    ],
)
def test_an_ingested_event_that_is_wrong_in_one_place_is_refused(
    field: str, value: object, reason: str
) -> None:
    output = codec.encode_ingested(Ingested("tx-1", "c", "t", 1, 2, "default", {}, {}), "t")
    wrong = orjson.dumps({**orjson.loads(output.value or b""), field: value})
    (refused,) = codec.decode_ingested([_record(output)._replace(value=wrong)]).refused
    assert refused.error.reason == reason
    assert refused.error.path.startswith(field)


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        (None, "null_value", ""),
        (b"", "not_json", ""),
        (b"[]", "not_object", ""),
        (b'{"version":1}', "missing_field", "event_id"),
    ],
)
def test_what_is_no_decision_is_refused(value: bytes | None, reason: str, path: str) -> None:
    with pytest.raises(RefusedEventError) as refused:
        codec.decode_decision(Record("t", 0, 0, 0, None, value))
    assert (refused.value.reason, refused.value.path) == (reason, path)
