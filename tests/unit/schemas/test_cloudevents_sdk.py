"""The CloudEvents SDK as oracle: what it writes we read, what we write it reads."""

from collections.abc import Callable
from datetime import datetime
from string import ascii_lowercase, digits
from typing import Final, cast

import orjson
import pytest
from cloudevents.core.bindings.kafka import (
    KafkaMessage,
    from_kafka,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.schemas.cloudevents import Attributes
from batuta.schemas.codec import EventCodec, Mode, encode_event
from batuta.schemas.event import Event
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Output, Record
from batuta.schemas.times import time_ms

NOW_MS: Final = 1_800_000_000_000
DOOR: Final = EventCodec(Source(key_field="card_id", time_field="event_time"), Transaction)

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
#: URI references: CloudEvents asks for them, its SDK does not check.
sources = st.text("/:#?&=%.~-_" + ascii_lowercase + digits, min_size=1, max_size=30)
tenants = st.text(ascii_lowercase + digits + "._-", min_size=1, max_size=20)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2026, 1, 1))  # noqa: DTZ001  Z is added
transactions: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {
        "transaction_id": text,
        "event_time": moments.map(lambda moment: moment.isoformat() + "Z"),
        "card_id": text,
        "terminal_id": text,
        "amount": st.floats(0, 9e8),
        "currency": st.sampled_from(["EUR", "USD"]),
        "channel": text,
    },
    optional={"country": st.just("IT"), "lat": st.floats(-90, 90), "merchant_category": text},
)
attributes: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {"id": text, "source": sources, "type": text},
    optional={
        "tenant": tenants,
        "traceparent": st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "subject": text,
        "datacontenttype": st.sampled_from(["application/json", "application/vnd.bank+json"]),
    },
)


def _read(message: KafkaMessage) -> Event[Transaction]:
    headers = tuple(message.headers.items())
    decoded = DOOR.decode([Record("t", 0, 0, 5, None, message.value, headers)], NOW_MS)
    assert decoded.refused == []
    return decoded.events[0]


@settings(max_examples=200, deadline=None)
@given(attributes, transactions, st.sampled_from([to_binary_event, to_structured_event]))
def test_what_the_sdk_writes_is_read_with_equal_attributes(
    given_attributes: dict[str, object],
    data: dict[str, object],
    write: Callable[[CloudEvent], KafkaMessage],
) -> None:
    sdk = CloudEvent(dict(given_attributes), data)
    event = _read(write(sdk))
    assert event.id == f"{sdk.get_source()} {sdk.get_id()}"
    assert (event.source, event.type) == (sdk.get_source(), sdk.get_type())
    assert event.tenant == given_attributes.get("tenant", "default")
    assert event.traceparent == given_attributes.get("traceparent", "")
    assert event.data == Transaction.model_validate_json(orjson.dumps(data))
    assert event.key == data["card_id"]
    assert event.time_ms == time_ms(datetime.fromisoformat(str(data["event_time"])))


def _sdk(output: Output) -> CloudEvent:
    message = KafkaMessage(dict(output.headers), None, output.value or b"")
    return cast("CloudEvent", from_kafka(message, JSONFormat()))


@settings(max_examples=200, deadline=None)
@given(attributes, transactions, st.sampled_from(["binary", "structured"]))
def test_what_we_write_is_read_by_the_sdk_and_by_us(
    given_attributes: dict[str, object], data: dict[str, object], mode: Mode
) -> None:
    ours = Attributes(
        *(str(given_attributes[name]) for name in ("id", "source", "type")),
        tenant=str(given_attributes.get("tenant", "default")),
        traceparent=str(given_attributes.get("traceparent", "")),
    )
    event = DOOR.wrap(Transaction.model_validate_json(orjson.dumps(data)), ours)
    output = encode_event(event, "fraud.events", mode)
    sdk = _sdk(output)
    assert (sdk.get_id(), sdk.get_source(), sdk.get_type()) == ours[:3]
    assert sdk.get_specversion() == "1.0"
    assert sdk.get_extension("tenant") == given_attributes.get("tenant") or ours.tenant == "default"
    assert time_ms(sdk.get_time() or datetime.min) == event.time_ms  # noqa: DTZ901
    assert orjson.dumps(sdk.get_data()) == orjson.dumps(orjson.loads(event.data_json))
    assert output.key == str(data["card_id"]).encode()
    again = _read(KafkaMessage(dict(output.headers), None, output.value or b""))
    assert again == event._replace(published_ms=5)


@given(transactions)
def test_bare_json_is_read_as_it_was_written(data: dict[str, object]) -> None:
    door = EventCodec(
        Source(id_field="transaction_id", key_field="card_id", time_field="event_time"),
        Transaction,
    )
    event = door.wrap(Transaction.model_validate_json(orjson.dumps(data)), Attributes())
    output = encode_event(event, "fraud.events", "json")
    assert output.headers == ()
    decoded = door.decode([Record("t", 0, 0, event.time_ms, None, output.value)], NOW_MS)
    assert decoded.events == [event]


def test_bare_json_cannot_name_a_tenant() -> None:
    data = Transaction.model_validate_json(
        b'{"transaction_id":"tx-1","event_time":"2018-04-01T10:17:43Z","card_id":"c1",'
        b'"terminal_id":"t1","amount":1,"currency":"EUR","channel":"pos"}'
    )
    event = DOOR.wrap(data, Attributes("1", "/shop", "sale", "acme"))
    with pytest.raises(AssertionError, match="tenant"):
        encode_event(event, "fraud.events", "json")
