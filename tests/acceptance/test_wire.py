"""Any Kafka client in any language: published and read with librdkafka, no code of ours.

The ways a foreign client may write an event are published once, each as one card's transaction;
what it reads back is plain JSON with the documented fields.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from confluent_kafka import Consumer, Producer
from jsonschema import Draft202012Validator

from batuta.schemas.fraud import Transaction
from batuta.schemas.json_schemas import data_schema, json_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Towns

PATIENCE_S: Final = 30.0
TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Headers = list[tuple[str, str | bytes | None]]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What a client hands to its library."""

    value: bytes
    headers: Headers
    key: bytes | None = None
    compression: str = "none"


def transaction(name: str) -> Fields:
    return {
        "transaction_id": f"tx-{name}",
        "event_time": "2018-04-01T12:17:43.250+02:00",
        "card_id": f"card-{name}",
        "terminal_id": "t3059",
        "amount": 225.41,
        "currency": "EUR",
        "channel": "pos",
        "country": "FR",
        "lat": 48.85,
        "lon": 2.35,
        "merchant_category": "grocery",
    }


def plain(name: str) -> Message:
    return Message(json.dumps(transaction(name)).encode(), [], f"card-{name}".encode())


def indented(name: str) -> Message:
    value = json.dumps(transaction(name), indent=4, ensure_ascii=True).encode()
    return Message(value, [("content-type", "text/json")], f"card-{name}".encode())


def sparse(name: str) -> Message:
    optional = ("country", "lat", "lon", "merchant_category")
    given = {field: value for field, value in transaction(name).items() if field not in optional}
    return Message(json.dumps(given).encode(), [])


def binary(name: str) -> Message:
    headers: Headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", f"4711-{name}"),
        ("ce_source", "/shop/tills"),
        ("ce_type", "com.example.sale"),
        ("ce_time", "2018-04-01T10:17:43Z"),
        ("ce_tenant", "acme"),
        ("content-type", "application/json; charset=utf-8"),
        ("traceparent", TRACE),
        ("null", None),
    ]
    return Message(json.dumps(transaction(name)).encode(), headers, f"card-{name}".encode())


def structured(name: str) -> Message:
    event = {
        "specversion": "1.0",
        "id": f"4711-{name}",
        "source": "/shop/tills",
        "type": "com.example.sale",
        "tenant": "acme",
        "datacontenttype": "application/json",
        "data": transaction(name),
    }
    return Message(json.dumps(event).encode(), [("content-type", "application/cloudevents+json")])


def compressed(codec: str) -> Callable[[str], Message]:
    def message(name: str) -> Message:
        value = json.dumps({**transaction(name), "note": "x" * 2000}).encode()
        return Message(value, [], f"card-{name}".encode(), codec)

    return message


WAYS: Final[Mapping[str, Callable[[str], Message]]] = {
    "plain": plain,
    "indented": indented,
    "sparse": sparse,
    "binary": binary,
    "structured": structured,
    "gzip": compressed("gzip"),
    "snappy": compressed("snappy"),
    "lz4": compressed("lz4"),
    "zstd": compressed("zstd"),
}


def publish(bootstrap: str, topic: str, message: Message) -> None:
    """Publish as the library does by default: its own partitioner, not Java's."""
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": message.compression})
    producer.produce(topic, message.value, message.key, headers=message.headers)
    assert producer.flush(20) == 0


def read(bootstrap: str, topic: str, count: int) -> list[Fields]:
    """Read the first `count` records of a topic as JSON, each with its key under `_key`."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader of {topic}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    found: list[Fields] = []
    for _ in range(int(PATIENCE_S)):
        for message in consumer.consume(count - len(found), 1.0):
            assert message.error() is None
            key = (message.key() or b"").decode()
            found.append({**json.loads(message.value() or b""), "_key": key})
        if len(found) == count:
            break
    consumer.close()
    return found


@pytest.fixture(scope="module")
def decisions(towns: Towns) -> dict[str, Fields]:
    """What a foreign client reads on `.decisions`, by event id."""
    town = towns.found()

    async def walk() -> list[Fields]:
        async with town.at_work():
            for name, way in WAYS.items():
                await asyncio.to_thread(publish, town.bootstrap, town.topics.events, way(name))
            return await asyncio.to_thread(read, town.bootstrap, town.topics.decisions, len(WAYS))

    return {found["event_id"]: found for found in asyncio.run(walk())}


@pytest.mark.parametrize("way", WAYS)
def test_an_event_from_any_client_is_decided_in_plain_json(
    decisions: dict[str, Fields], way: str
) -> None:
    decision = decisions[f"tx-{way}"]
    assert decision["_key"] == decision["entity"] == f"card-{way}"
    assert decision["outcome"] in {"approve", "review", "block"}
    assert 0 <= decision["score"] <= 1
    assert decision["reasons"]
    assert all(isinstance(reason, str) for reason in decision["reasons"])
    assert decision["model"] == "watchful@000000000000"
    assert decision["event_time"] == "2018-04-01T10:17:43.250Z"
    assert decision["tenant"] == ("acme" if way in {"binary", "structured"} else "default")
    assert decision["features"]["amount"] == 225.41


@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_holds_to_the_published_schema(decisions: dict[str, Fields], way: str) -> None:
    decision = {name: value for name, value in decisions[f"tx-{way}"].items() if name != "_key"}
    schema = json_schema("decision")
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(decision)
    for field in ("event_id", "outcome", "score", "reasons", "model"):
        maimed = {name: value for name, value in decision.items() if name != field}
        assert not Draft202012Validator(schema).is_valid(maimed)


def test_what_is_published_holds_to_the_published_schema() -> None:
    schema = Draft202012Validator(data_schema(Transaction))
    schema.validate(transaction("any"))
    assert not schema.is_valid({**transaction("any"), "amount": "much"})
