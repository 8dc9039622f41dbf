"""Each bad input has its reason, its path and a sentence; each good one becomes an event."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from batuta.schemas.codec import REASONS, EventCodec
from batuta.schemas.errors import RefusedEventError, UsageError
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Headers, Record
from batuta.schemas.times import EventTime

RefuseOne = Callable[[bytes | None, Headers], RefusedEventError]
Payload = Callable[..., bytes]
MakeRecord = Callable[..., Record]

DEEP = b"[" * 5000 + b"]" * 5000
HUGE = b"1" + b"0" * 400
LITERAL = [
    pytest.param(None, "null_value", "", "the record has no value", id="null value"),
    pytest.param(b"", "not_json", "", "the value is empty", id="empty"),
    pytest.param(b"hello", "not_json", "", "not JSON: expected value at line 1", id="text"),
    pytest.param(b'{"amount": 1', "not_json", "", "EOF while parsing", id="cut off"),
    pytest.param(b"\xef\xbb\xbf{}", "not_json", "", "not JSON", id="byte order mark"),
    pytest.param(b"{} {}", "not_json", "", "trailing characters", id="two objects"),
    pytest.param(b'{"a":1},{"b":2}', "not_json", "", "trailing characters", id="two with comma"),
    pytest.param(b'{"card_id": "\xff"}', "bad_utf8", "", "byte 13 is 0xff", id="bad UTF-8"),
    pytest.param(b"\xff\xfe{\x00}\x00", "bad_utf8", "", "byte 0 is 0xff", id="UTF-16"),
    pytest.param(b'{"x":"\\ud800"}', "not_json", "", "hex escape", id="lone surrogate"),
    pytest.param(b'{"x":%s}' % DEEP, "too_deep", "", "nested too deeply", id="deep"),
    pytest.param(b"[]", "not_object", "", "must be a JSON object, but is a list", id="list"),
    pytest.param(b"null", "not_object", "", "but is null", id="null"),
    pytest.param(b'"secret"', "not_object", "", "but is a text of 6 characters", id="string"),
    pytest.param(b"5", "not_object", "", "but is a number", id="number"),
    pytest.param(b" " * 1_048_577, "too_large", "", "has 1048577 bytes", id="too large"),
]
FIELDS = [
    pytest.param("amount", ..., "missing_field", "amount is missing", id="missing"),
    pytest.param("amount", "12.50", "wrong_type", "be a number, but is the text '12.50'", id="txt"),
    pytest.param("amount", True, "wrong_type", "must be a number, but is true", id="truth value"),
    pytest.param("amount", None, "wrong_type", "must be a number, but is null", id="null"),
    pytest.param("amount", [1], "wrong_type", "must be a number, but is a list", id="list"),
    pytest.param("amount", {}, "wrong_type", "must be a number, but is an object", id="object"),
    pytest.param("amount", -1, "bad_value", "must be greater than or equal to 0", id="negative"),
    pytest.param("amount", 1e300, "bad_value", "than or equal to 900000000", id="too much"),
    pytest.param("terminal_id", 3059, "wrong_type", "a text, but is the number 3059", id="number"),
    pytest.param("terminal_id", "", "bad_value", "at least 1 character", id="empty"),
    pytest.param("terminal_id", "t" * 500, "bad_value", f"'{'t' * 80}...'", id="long, cut"),
    pytest.param("terminal_id", "\x00" * 500, "bad_value", "\\x00\\x00", id="unprintable"),
    pytest.param("currency", "euro", "bad_value", "match pattern '^[A-Z]{3}$'", id="pattern"),
    pytest.param(
        "lat", 91, "bad_value", "less than or equal to 90, but is the number 91", id="lat"
    ),
    pytest.param("event_time", 1522577863, "wrong_type", "a time as text", id="seconds"),
    pytest.param("event_time", "1522577863", "bad_time", "RFC 3339", id="seconds as text"),
    pytest.param("event_time", "01/04/2018 10:17", "bad_time", "'01/04/2018 10:17'", id="form"),
    pytest.param("event_time", "2018-02-30T00:00:00Z", "bad_time", "RFC 3339", id="no such day"),
    pytest.param("event_time", "2018-04-01T10:17:43", "bad_time", "has no time zone", id="naive"),
    pytest.param("event_time", "2018-04-01T23:59:60Z", "bad_time", "RFC 3339", id="leap second"),
    pytest.param(
        "event_time", "1969-12-31T23:59:59Z", "absurd_time", "before 1970-01-01T00:00:00", id="old"
    ),
    pytest.param(
        "event_time", "2018-04-04T12:00:00Z", "absurd_time", "2.5 days ahead of", id="ahead"
    ),
    pytest.param(
        "event_time", "9999-12-31T23:59:59-23:59", "absurd_time", "ahead of the", id="last"
    ),
    pytest.param("event_time", "0001-01-01T00:00:00+23:59", "absurd_time", "is before", id="first"),
]
NUMBERS = [
    pytest.param(b"NaN", "not_finite", id="NaN"),
    pytest.param(b"Infinity", "not_finite", id="Infinity"),
    pytest.param(b"-Infinity", "not_finite", id="-Infinity"),
    pytest.param(b"1e999", "not_finite", id="beyond a double"),
    pytest.param(HUGE, "not_finite", id="huge whole number"),
    pytest.param(b"1" * 5000, "not_json", id="too many digits"),
    pytest.param(b"0x1", "not_json", id="hexadecimal"),
    pytest.param(b"01", "not_json", id="leading zero"),
]


@pytest.mark.parametrize(("value", "reason", "path", "sentence"), LITERAL)
def test_a_value_that_is_no_object_is_refused(
    refuse: RefuseOne, value: bytes | None, reason: str, path: str, sentence: str
) -> None:
    error = refuse(value, ())
    assert (error.reason, error.path) == (reason, path)
    assert sentence in error.detail
    assert reason in REASONS


@pytest.mark.parametrize(("field", "value", "reason", "sentence"), FIELDS)
def test_a_field_that_breaks_the_schema_is_refused(  # noqa: PLR0913, PLR0917
    refuse: RefuseOne, payload: Payload, field: str, value: object, reason: str, sentence: str
) -> None:
    error = refuse(payload(**{field: value}), ())
    assert (error.reason, error.path) == (reason, field)
    assert error.detail.startswith(field)
    assert sentence in error.detail
    assert len(error.detail) < 300


@pytest.mark.parametrize(("number", "reason"), NUMBERS)
def test_what_is_no_finite_number_is_refused(
    refuse: RefuseOne, payload: Payload, number: bytes, reason: str
) -> None:
    error = refuse(payload().replace(b"225.41", number), ())
    assert error.reason == reason


def test_a_huge_number_is_told_by_its_size(refuse: RefuseOne, payload: Payload) -> None:
    error = refuse(payload().replace(b'"t3059"', HUGE), ())
    assert error.detail == "terminal_id must be a text, but is the number of 1329 bits"


def test_a_personal_field_is_never_printed(refuse: RefuseOne, payload: Payload) -> None:
    error = refuse(payload(card_id="4111-1111" * 40), ())
    assert (error.reason, error.path) == ("bad_value", "card_id")
    assert "4111" not in f"{error.detail} {error!r} {error.__context__!r} {error.__cause__!r}"
    assert "a text of 360 characters" in error.detail
    assert error.__traceback__ is None


def test_an_event_never_prints_its_key_or_payload(
    door: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    (event,) = door.decode([record(payload())], now_ms).events
    assert "c3774" not in f"{event!r} {event} {event.data!r}"


def test_a_good_event_carries_what_the_source_names(
    door: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    (event,) = door.decode([record(payload(country="IT"))], now_ms).events
    assert (event.id, event.key) == ("tx-000003527", "c3774")
    assert (event.time_ms, event.published_ms) == (1_522_577_863_000, 1_522_600_000_000)
    assert (event.tenant, event.source, event.type, event.traceparent) == ("default", "", "", "")
    assert event.data.amount == 225.41
    assert event.data_json == payload(country="IT")


def test_the_data_goes_on_canonical(
    door: EventCodec[Transaction], record: MakeRecord, now_ms: int
) -> None:
    value = (
        b'{ "channel": "p\\u006fs", "amount": 1e1, "x": {"amount": 3}, "currency": "EUR",'
        b' "terminal_id": "t", "event_time": "2018-04-01 10:17:43.5+00:00", "lat": null,'
        b' "amount": 2, "card_id": "c", "transaction_id": "tx" }'
    )
    decoded = door.decode([record(value)], now_ms)
    assert decoded.events[0].data_json == (
        b'{"transaction_id":"tx","event_time":"2018-04-01T10:17:43.500000Z","card_id":"c",'
        b'"terminal_id":"t","amount":2.0,"currency":"EUR","channel":"pos"}'
    )
    assert decoded.unknown_fields == 1
    again = door.decode([record(decoded.events[0].data_json)], now_ms)
    assert again.events[0].data_json == decoded.events[0].data_json
    assert again.events[0].data == decoded.events[0].data


def test_unknown_fields_are_counted_of_accepted_events_alone(
    door: EventCodec[Transaction], payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    records = [record(payload(a=1, b={"c": 2})), record(payload(a=1, amount="no"))]
    decoded = door.decode(records, now_ms)
    assert (len(decoded.events), decoded.unknown_fields) == (1, 2)
    assert decoded.events[0].data_json == payload()
    assert decoded.events[0].data == Transaction.model_validate_json(payload())


def test_a_strict_source_refuses_unknown_fields(
    source: Source, payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    strict = EventCodec(source.model_copy(update={"strict": True}), Transaction)
    decoded = strict.decode([record(payload(cvv="123")), record(payload())], now_ms)
    (refused,) = decoded.refused
    assert (refused.error.reason, refused.error.path) == ("unknown_field", "cvv")
    assert refused.error.detail == "cvv is not in the schema, and the pipeline is strict"
    assert [event.position for event in decoded.events] == [1]
    assert decoded.unknown_fields == 0


def test_five_megabytes_are_refused_by_size_and_taken_where_the_limit_is_raised(
    source: Source, payload: Payload, record: MakeRecord, now_ms: int
) -> None:
    large = record(payload(note="x" * 5_000_000))
    (refused,) = EventCodec(source, Transaction).decode([large], now_ms).refused
    assert refused.error.reason == "too_large"
    raised = source.model_copy(update={"value_bytes_max": 6_000_000})
    assert len(EventCodec(raised, Transaction).decode([large], now_ms).events) == 1


class _Holder(BaseModel):
    name: Annotated[str, Field(json_schema_extra={"personal": True}, max_length=4)]
    cards: list[str] = []


class _Order(BaseModel):
    """Nested, with a whole number of any size, a rule of its own and a field of its own form."""

    model_config = ConfigDict(allow_inf_nan=False)

    number: int
    placed_at: EventTime
    holder: _Holder
    secret: Annotated[str, Field(json_schema_extra={"personal": True})] = ""

    @model_validator(mode="after")
    def _rule(self) -> "_Order":
        if self.secret:
            raise ValueError(f"{self.secret} is not empty")
        return self

    @field_serializer("placed_at")
    def _date(self, placed_at: datetime) -> str:
        return placed_at.isoformat(timespec="seconds")


@pytest.fixture
def orders() -> EventCodec[_Order]:
    return EventCodec(Source(id_field="number", key_field="number", time_field="placed_at"), _Order)


def test_nested_data_is_read_counted_and_written(
    orders: EventCodec[_Order], record: MakeRecord, now_ms: int
) -> None:
    number = 10**30
    value = (
        b'{"number":%d,"placed_at":"2018-04-01T12:17:43+02:00",'
        b'"holder":{"name":"Ada","age":36,"cards":["a"]},"x":0}' % number
    )
    decoded = orders.decode([record(value)], now_ms)
    (event,) = decoded.events
    assert (event.id, event.key, decoded.unknown_fields) == (str(number), str(number), 2)
    assert event.time_ms == 1_522_577_863_000
    assert not event.data.model_extra
    assert not event.data.holder.model_extra
    assert event.data_json == (
        b'{"number":%d,"placed_at":"2018-04-01T12:17:43+02:00",'
        b'"holder":{"name":"Ada","cards":["a"]},"secret":""}' % number
    )


@pytest.mark.parametrize(
    ("holder", "path", "sentence"),
    [
        (b'{"name":"Adalbert"}', "holder/name", "a text of 8 characters"),
        (b'{"name":"Ada","cards":["a",5]}', "holder/cards/1", "must be a text, but is the num"),
        (b"[]", "holder", "holder must be an object, but is a list"),
    ],
)
def test_a_path_leads_into_nested_data(
    orders: EventCodec[_Order], record: MakeRecord, holder: bytes, path: str, sentence: str
) -> None:
    value = b'{"number":1,"placed_at":"2018-04-01T10:17:43Z","holder":%s}' % holder
    (refused,) = orders.decode([record(value)], 1_522_627_200_000).refused
    assert refused.error.path == path
    assert sentence in refused.error.detail
    assert "Adalbert" not in str(refused.error)


def test_a_rule_of_the_schema_may_speak_but_not_name_a_personal_value(
    orders: EventCodec[_Order], record: MakeRecord, now_ms: int
) -> None:
    value = (
        b'{"number":1,"placed_at":"2018-04-01T10:17:43Z","holder":{"name":"Ada"},"secret":"Rosa"}'
    )
    (refused,) = orders.decode([record(value)], now_ms).refused
    assert refused.error.reason == "bad_value"
    assert refused.error.detail == "the event is refused: secret is not empty"


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("id_field", "tx", "source.id_field: Transaction has no field 'tx'; expected one of tran"),
        ("key_field", "card", "source.key_field: Transaction has no field 'card'"),
        ("time_field", "time", "source.time_field: Transaction has no field 'time'"),
        ("time_field", "amount", "source.time_field: 'amount' of Transaction is no time"),
    ],
)
def test_a_source_that_names_a_wrong_field_stops_the_start(
    source: Source, setting: str, value: str, expected: str
) -> None:
    with pytest.raises(UsageError, match=expected.replace(".", r"\.")):
        EventCodec(source.model_copy(update={setting: value}), Transaction)
