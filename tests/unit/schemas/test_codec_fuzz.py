"""Any bytes are decoded or refused, and no record changes what becomes of its neighbours."""

import math
from collections.abc import Mapping

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import to_json

from batuta.schemas.codec import (
    REASONS,
    EventCodec,
    decode_cases,
    decode_decisions,
    decode_ingested,
    decode_notifications,
)
from batuta.schemas.fraud import FraudLabel, Transaction
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Headers, Record
from batuta.schemas.wire import IngestedWire

NOW_MS = 1_522_627_200_000
DOORS = (
    EventCodec(
        Source(id_field="transaction_id", key_field="card_id", time_field="event_time"), Transaction
    ),
    EventCodec(Source(key_field="card_id", time_field="event_time", strict=True), Transaction),
    EventCodec(Source(key_field="transaction_id", time_field="label_time"), FraudLabel),
)
VALID: dict[str, object] = {
    "transaction_id": "tx-1",
    "event_time": "2018-04-01T10:17:43Z",
    "label_time": "2018-04-01T10:17:43Z",
    "card_id": "c1",
    "terminal_id": "t1",
    "amount": 1.5,
    "currency": "EUR",
    "channel": "pos",
    "fraud": True,
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
times = st.sampled_from(
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2018-04-01T24:00:00Z",
        "\u0661\u0662\u0663\u0664-01-01T00:00:00Z",
    ]
)


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


def _damaged(changes: Mapping[str, object]) -> bytes:
    return _json({**VALID, **changes})


leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text() | times
damaged = st.dictionaries(
    st.sampled_from([*VALID, "lat", "country", "specversion", "x/~y"]), leaves, max_size=3
).map(_damaged)
spliced = st.tuples(damaged, st.binary(max_size=6), st.integers(0, 250)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
)
structured = st.fixed_dictionaries(
    {"specversion": st.just("1.0") | leaves, "id": st.text() | leaves},
    optional={
        "source": st.just("/shop") | leaves,
        "type": st.text(min_size=1) | leaves,
        "tenant": st.text() | leaves,
        "data": st.just(VALID) | leaves,
        "data_base64": st.text() | st.just("e30="),
    },
).map(_json)
values = st.none() | st.binary() | damaged | spliced | structured
names = st.sampled_from(
    [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_tenant",
        "ce_x",
        "CE_ID",
        "content-type",
        "traceparent",
        "",
        "é",
    ]
)
contents = st.binary(max_size=40) | st.sampled_from(
    [b"1.0", b"/shop", b"application/json", b"application/cloudevents+json", b"x" * 2000]
)
headers: st.SearchStrategy[Headers] = st.lists(st.tuples(names, contents), max_size=6).map(tuple)
keys = st.none() | st.binary(max_size=8)
records = st.builds(
    Record, st.just("t"), st.just(0), st.just(0), st.just(5), keys, values, st.just(()) | headers
)


def _told(door: int, batch: list[Record]) -> dict[int, object]:
    decoded = DOORS[door].decode(batch, NOW_MS)
    told: dict[int, object] = {
        event.position: event._replace(position=0) for event in decoded.events
    }
    for refused in decoded.refused:
        assert refused.error.reason in REASONS
        assert 0 < len(refused.error.detail) < 500
        assert "\n" not in refused.error.detail
        told[refused.position] = (refused.error.reason, refused.error.path, refused.error.detail)
    return told


@settings(max_examples=600, deadline=None)
@given(st.integers(0, len(DOORS) - 1), st.lists(records, max_size=5))
def test_each_record_alone_fares_as_in_its_batch(door: int, batch: list[Record]) -> None:
    together = _told(door, batch)
    assert sorted(together) == list(range(len(batch)))
    for position, record in enumerate(batch):
        assert _told(door, [record]) == {0: together[position]}


@settings(max_examples=300, deadline=None)
@given(st.lists(records, max_size=4))
def test_messages_of_any_bytes_are_read_or_refused(batch: list[Record]) -> None:
    for decode in (decode_decisions, decode_cases, decode_notifications, decode_ingested):
        messages = decode(batch)
        assert len(messages.items) + len(messages.refused) == len(batch)
        assert all(refused.error.reason in REASONS for refused in messages.refused)


INGESTED: dict[str, object] = {
    "version": 1,
    "event_id": "e",
    "entity": "c",
    "scoring_key": "t",
    "event_time_ms": 1,
    "published_ms": 2,
    "tenant": "default",
    "data": {"amount": 1.5},
    "features": {"a": 1.0, "b": None},
}


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from([*INGESTED, "traceparent", "new"]), anything, max_size=2))
def test_an_ingested_event_is_read_as_its_schema_says(changes: dict[str, object]) -> None:
    value = to_json(INGESTED | changes, inf_nan_mode="constants")
    (items, refused) = decode_ingested([Record("t", 0, 0, 0, None, value)])
    try:
        wire = IngestedWire.model_validate_json(value)
    except ValidationError:
        assert not items
        return
    assert not refused
    features = {n: math.nan if v is None else v for n, v in wire.features.items()}
    expected = {**wire.model_dump(exclude={"version"}), "features": features, "data_json": b""}
    assert repr(items[0]._asdict()) == repr({name: expected[name] for name in items[0]._fields})
