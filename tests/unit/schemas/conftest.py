"""One source of card transactions, its door, and records for it."""

from collections.abc import Callable
from typing import Final

import orjson
import pytest

from batuta.schemas.codec import EventCodec
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Headers, Record

#: 2018-04-02T00:00:00Z, the clock of these tests.
NOW_MS: Final = 1_522_627_200_000

RefuseOne = Callable[[bytes | None, Headers], RefusedEventError]
Payload = Callable[..., bytes]


@pytest.fixture(scope="session")
def now_ms() -> int:
    return NOW_MS


@pytest.fixture(scope="session")
def source() -> Source:
    return Source(id_field="transaction_id", key_field="card_id", time_field="event_time")


@pytest.fixture(scope="session")
def door(source: Source) -> EventCodec[Transaction]:
    return EventCodec(source, Transaction)


@pytest.fixture(scope="session")
def payload() -> Payload:
    """A valid transaction as JSON, with some fields replaced; a field set to ... is left out."""

    def make(**changes: object) -> bytes:
        fields: dict[str, object] = {
            "transaction_id": "tx-000003527",
            "event_time": "2018-04-01T10:17:43Z",
            "card_id": "c3774",
            "terminal_id": "t3059",
            "amount": 225.41,
            "currency": "EUR",
            "channel": "pos",
        }
        fields |= changes
        return orjson.dumps({name: value for name, value in fields.items() if value is not ...})

    return make


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    """A record of `fraud.events` that carries a value and headers."""

    def make(value: bytes | None, headers: Headers = ()) -> Record:
        return Record("fraud.events", 0, 7, 1_522_600_000_000, b"c3774", value, headers)

    return make


@pytest.fixture(scope="session")
def refuse(door: EventCodec[Transaction], record: Callable[..., Record]) -> RefuseOne:
    """Decode one record between two good ones, see it refused and them untouched."""
    good = record(
        b'{"transaction_id":"tx-1","event_time":"2018-04-01T10:17:43Z","card_id":"c1",'
        b'"terminal_id":"t1","amount":1,"currency":"EUR","channel":"pos"}'
    )

    def decode(value: bytes | None, headers: Headers) -> RefusedEventError:
        decoded = door.decode([good, record(value, headers), good], NOW_MS)
        assert [event.position for event in decoded.events] == [0, 2]
        assert decoded.events[0].data_json == decoded.events[1].data_json
        (refused,) = decoded.refused
        assert refused.position == 1
        return refused.error

    return decode
