"""CloudEvents 1.0 around the data: three modes, one event; each fault named."""

from base64 import b64encode
from collections.abc import Callable

import orjson
import pytest

from batuta.schemas.codec import EventCodec
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Headers, Record

RefuseOne = Callable[[bytes | None, Headers], RefusedEventError]
Payload = Callable[..., bytes]
MakeRecord = Callable[..., Record]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BINARY = {
    "ce_specversion": b"1.0",
    "ce_id": b"4711",
    "ce_source": b"/shop/tills",
    "ce_type": b"card.transaction",
    "content-type": b"application/json; charset=utf-8",
}
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def headers(**changes: bytes | None) -> Headers:
    """Binary mode headers; `None` leaves one out, `_` stands for `-`."""
    named = BINARY | {
        name.replace("content_type", "content-type"): v for name, v in changes.items()
    }
    return tuple((name, value) for name, value in named.items() if value is not None)


def structured(inner: bytes, **changes: object) -> bytes:
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": "4711",
        "source": "/shop/tills",
        "type": "card.transaction",
        "data": orjson.Fragment(inner),
    }
    attributes |= changes
    return orjson.dumps({name: value for name, value in attributes.items() if value is not ...})


@pytest.fixture
def by_attributes(source: Source) -> EventCodec[Transaction]:
    return EventCodec(source.model_copy(update={"id_field": None}), Transaction)


def test_all_modes_give_one_event(
    by_attributes: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    encoded = b64encode(payload()).decode()
    extensions: dict[str, object] = {"tenant": "acme", "traceparent": TRACE}
    records = [
        record(payload(), headers(ce_tenant=b"acme", traceparent=TRACE.encode())),
        record(payload(), headers(CE_Tenant=b"acme", ce_traceparent=TRACE.encode())),
        record(structured(payload(), **extensions), STRUCTURED),
        record(structured(payload(), **extensions), ()),
        record(structured(b"0", data=..., data_base64=encoded, **extensions), STRUCTURED),
    ]
    decoded = by_attributes.decode(records, now_ms)
    assert decoded.refused == []
    first = decoded.events[0]
    assert (first.id, first.source, first.type) == (
        "/shop/tills 4711",
        "/shop/tills",
        "card.transaction",
    )
    assert (first.tenant, first.traceparent) == ("acme", TRACE)
    assert [event._replace(position=0) for event in decoded.events] == [first] * 5


def test_source_and_id_never_run_together(
    by_attributes: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    pairs = [(b"/a", b"b c"), (b"/a/b", b"c"), (b"/a", b"/b c"), (b"/a", b"b  c")]
    records = [record(payload(), headers(ce_source=s, ce_id=i)) for s, i in pairs]
    assert len({event.id for event in by_attributes.decode(records, now_ms).events}) == 4


def test_bare_json_needs_attributes_where_they_tell_events_apart(
    by_attributes: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    (refused,) = by_attributes.decode([record(payload())], now_ms).refused
    assert (refused.error.reason, refused.error.path) == ("missing_attribute", "ce_id")


def test_bare_json_keeps_a_trace_and_drops_a_broken_one(
    door: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    records = [
        record(payload(), (("traceparent", TRACE.encode()), ("other", b"\xff"))),
        record(payload(), (("traceparent", b"\xff00"),)),
        record(payload(), (("content-type", b"application/json"),)),
        record(payload(), (("content-type", b"application/vnd.bank.card+json"),)),
        record(payload(), (("content-type", b""),)),
    ]
    decoded = door.decode(records, now_ms)
    assert [event.traceparent for event in decoded.events] == [TRACE, "", "", "", ""]


@pytest.mark.parametrize(
    ("change", "reason", "path", "sentence"),
    [
        ({"ce_specversion": None}, "missing_attribute", "ce_specversion", "is missing or empty"),
        ({"ce_specversion": b"0.3"}, "bad_specversion", "ce_specversion", "is the text '0.3'"),
        ({"ce_specversion": b"2.0"}, "bad_specversion", "ce_specversion", "1.0 is read here"),
        ({"ce_id": None}, "missing_attribute", "ce_id", "ce_id is missing or empty"),
        ({"ce_id": b""}, "missing_attribute", "ce_id", "ce_id is missing or empty"),
        ({"ce_id": b"\xff"}, "bad_attribute", "ce_id", "is not UTF-8"),
        ({"ce_id": b"x" * 2000}, "bad_attribute", "ce_id", "has 2000 bytes, more than 1024"),
        ({"ce_source": None}, "missing_attribute", "ce_source", "is missing or empty"),
        ({"ce_source": b"my shop"}, "bad_attribute", "ce_source", "without spaces"),
        ({"ce_source": b"x" * 2000}, "bad_attribute", "ce_source", "more than 1024"),
        ({"ce_type": None}, "missing_attribute", "ce_type", "is missing or empty"),
        ({"ce_tenant": b""}, "bad_attribute", "ce_tenant", "1 to 64 letters"),
        ({"ce_tenant": b"a b"}, "bad_attribute", "ce_tenant", "1 to 64 letters"),
        ({"content_type": b"text/plain"}, "bad_content_type", "content-type", "'text/plain'"),
        ({"content_type": b"application/json; charset=latin-1"}, "bad_content_type", "", "UTF-8"),
        ({"content_type": b"application/cloudevents+avro"}, "bad_content_type", "", "JSON"),
        ({"content_type": b"application/cloudevents-batch+json"}, "bad_content_type", "", "JSON"),
        ({"content_type": b"\xff"}, "bad_attribute", "content-type", "is not UTF-8"),
    ],
)
def test_a_fault_of_binary_mode_is_named(  # noqa: PLR0913, PLR0917
    refuse: RefuseOne,
    payload: Payload,
    change: dict[str, bytes | None],
    reason: str,
    path: str,
    sentence: str,
) -> None:
    error = refuse(payload(), headers(**change))
    assert error.reason == reason
    assert path in error.path
    assert sentence in error.detail


@pytest.mark.parametrize(
    ("change", "reason", "path", "sentence"),
    [
        ({"specversion": "0.3"}, "bad_specversion", "specversion", "1.0 is read here"),
        ({"specversion": 1.0}, "bad_attribute", "specversion", "must be a text, but is the num"),
        ({"id": ...}, "missing_attribute", "id", "attribute id is missing"),
        ({"id": 4711}, "bad_attribute", "id", "but is the number 4711"),
        ({"source": ""}, "missing_attribute", "source", "attribute source is missing or empty"),
        ({"type": ["a"]}, "bad_attribute", "type", "but is a list"),
        ({"tenant": True}, "bad_attribute", "tenant", "but is true"),
        ({"datacontenttype": "text/xml"}, "bad_content_type", "datacontenttype", "'text/xml'"),
        ({"data": ...}, "bad_data", "data", "carries no data"),
        ({"data": None}, "bad_data", "data", "carries no data"),
        ({"data_base64": "e30="}, "bad_data", "data", "exclude each other"),
        ({"data": ..., "data_base64": "%"}, "bad_data", "data_base64", "is not base64"),
        ({"data": ..., "data_base64": 5}, "bad_data", "data_base64", "is not base64"),
        ({"data": ..., "data_base64": "e30="}, "missing_field", "transaction_id", "is missing"),
        ({"data": ..., "data_base64": "/w=="}, "bad_utf8", "", "byte 0 is 0xff"),
        ({"data": "text"}, "not_object", "", "but is a text of 4 characters"),
        ({"data": {"amount": 1}}, "missing_field", "transaction_id", "is missing"),
    ],
)
def test_a_fault_of_structured_mode_is_named(  # noqa: PLR0913, PLR0917
    refuse: RefuseOne,
    payload: Payload,
    change: dict[str, object],
    reason: str,
    path: str,
    sentence: str,
) -> None:
    error = refuse(structured(payload(), **change), STRUCTURED)
    assert (error.reason, error.path) == (reason, path)
    assert sentence in error.detail


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "not_object"),
        (b'{"specversion":"1.0"', "not_json"),
        (b'{"id":"\xff"}', "bad_utf8"),
        (b'{"data":' + b"[" * 5000, "too_deep"),
        (b"{}", "missing_attribute"),
    ],
)
def test_a_structured_value_is_held_to_json_first(
    refuse: RefuseOne, value: bytes, reason: str
) -> None:
    assert refuse(value, STRUCTURED).reason == reason


@pytest.mark.parametrize("number", [b"NaN", b"1" + b"0" * 400])
def test_numbers_are_held_alike_in_every_mode(
    refuse: RefuseOne, payload: Payload, number: bytes
) -> None:
    value = structured(payload()).replace(b"225.41", number)
    assert refuse(value, STRUCTURED).reason == "not_finite"


def test_a_header_without_value_counts_as_missing(refuse: RefuseOne, payload: Payload) -> None:
    valueless: Headers = (*headers(ce_id=None), ("ce_id", None))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  some clients
    assert refuse(payload(), valueless).reason == "missing_attribute"
