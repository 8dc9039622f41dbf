"""Ingested events between bytes and values; internal, so compact and without headers."""

from collections.abc import Sequence
from typing import Final, cast

import orjson

from batuta.schemas.ingested import INGESTED_VERSION, Ingested
from batuta.schemas.json_rows import json_rows
from batuta.schemas.label_codec import kind_of, read_outcome
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.lease import LeaseGrant
from batuta.schemas.lease_codec import read_grant
from batuta.schemas.message_reading import Messages, numbers_of, read_all, read_message
from batuta.schemas.record import Output, OutputColumns, Record
from batuta.schemas.review import StepAnswer
from batuta.schemas.review_codec import read_step_answer
from batuta.schemas.wire import IngestedWire

__all__ = ["decode_ingested", "decode_scoring", "encode_ingested", "encode_ingested_all"]

_NUMBERS: Final = frozenset((float, type(None)))


def encode_ingested(message: Ingested, topic: str) -> Output:
    """Write an ingested event, keyed by what scoring needs."""
    return next(encode_ingested_all([message], topic).outputs())


def encode_ingested_all(messages: Sequence[Ingested], topic: str) -> OutputColumns:
    """Write ingested events, each keyed by what scoring needs."""
    keys = [message.scoring_key.encode() for message in messages]
    return OutputColumns(topic, keys, json_rows(map(_body, messages)))


def _body(message: Ingested) -> dict[str, object]:
    body: dict[str, object] = {
        "version": INGESTED_VERSION,
        "event_id": message.event_id,
        "entity": message.entity,
        "scoring_key": message.scoring_key,
        "event_time_ms": message.event_time_ms,
        "published_ms": message.published_ms,
        "tenant": message.tenant,
        "data": orjson.Fragment(message.data_json) if message.data_json else message.data,
        "features": message.features,
    }
    if message.traceparent:
        body["traceparent"] = message.traceparent
    return body


def decode_ingested(records: Sequence[Record], _now_ms: int = 0) -> Messages[Ingested]:
    """Read a batch of ingested events; what is none is refused."""
    return read_all(_decode, records)


def decode_scoring(
    records: Sequence[Record], _now_ms: int = 0
) -> Messages[Ingested | LabelOutcome | StepAnswer | LeaseGrant]:
    """Read a batch of what scoring reads: events, outcomes, people's answers, and leases."""
    return read_all(_decode_any, records)


def _decode_any(record: Record) -> Ingested | LabelOutcome | StepAnswer | LeaseGrant:
    plain = _plain(record.value)
    if plain is not None:
        return plain
    kind = kind_of(record)
    if kind == "answer":
        return read_step_answer(record)
    if kind == "grant":
        return read_grant(record)
    return read_outcome(record) if kind == "outcome" else _checked(record)


def _decode(record: Record) -> Ingested:
    plain = _plain(record.value)
    return _checked(record) if plain is None else plain


def _plain(value: bytes | None) -> Ingested | None:
    """Return what `_checked` would where that is plain to see, at half its cost, else None."""
    try:
        found: object = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if type(found) is not dict:
        return None
    fields = cast("dict[str, object]", found)
    event_id, entity, scoring_key, tenant = (
        fields.get("event_id"),
        fields.get("entity"),
        fields.get("scoring_key"),
        fields.get("tenant"),
    )
    event_time_ms, published_ms = fields.get("event_time_ms"), fields.get("published_ms")
    data, features = fields.get("data"), fields.get("features")
    version, traceparent = fields.get("version"), fields.get("traceparent", "")
    if (
        type(event_id) is str
        and type(entity) is str
        and type(scoring_key) is str
        and type(tenant) is str
        and type(traceparent) is str
        and event_id
        and entity
        and scoring_key
        and tenant
        and type(version) is int
        and version == INGESTED_VERSION
        and type(event_time_ms) is int
        and type(published_ms) is int
        and type(data) is dict
        and type(features) is dict
        and _NUMBERS.issuperset(map(type, features.values()))
    ):
        return Ingested(
            event_id,
            entity,
            scoring_key,
            event_time_ms,
            published_ms,
            tenant,
            data,
            numbers_of(features),
            traceparent,
        )
    return None


def _checked(record: Record) -> Ingested:
    wire = read_message(IngestedWire, record)
    return Ingested(
        wire.event_id,
        wire.entity,
        wire.scoring_key,
        wire.event_time_ms,
        wire.published_ms,
        wire.tenant,
        wire.data,
        numbers_of(wire.features),
        wire.traceparent,
    )
