"""Events written, for those who publish them: the generator, `produce`, tests.

What stands here reads back through `EventCodec` as the same event, and through any CloudEvents
library.
"""

from typing import Final, Literal

import orjson
from pydantic import BaseModel

from batuta.schemas.cloudevents import SPECVERSION, STRUCTURED_TYPE, identity
from batuta.schemas.event import DEFAULT_TENANT, Event
from batuta.schemas.record import Headers, Output, Record
from batuta.schemas.times import rfc3339

__all__ = ["Mode", "encode_event", "put_aside", "rekeyed"]

Mode = Literal["binary", "structured", "json"]

#: Required by CloudEvents, so they stand in for what a bare JSON event never said.
_SOURCE: Final = "/batuta"
_TYPE: Final = "batuta.event.v1"


def encode_event(event: Event[BaseModel], topic: str, mode: Mode = "binary") -> Output:
    """Write an event, keyed by its entity.

    Args:
        event: what to write; its `data_json` is the data.
        topic: where to.
        mode: CloudEvents binary or structured mode, or bare JSON without tenant and attributes.
    """
    if mode == "json":
        assert event.tenant == DEFAULT_TENANT, "bare JSON names no tenant"
        return Output(topic, event.key.encode(), event.data_json, _trace(event))
    attributes = _attributes(event)
    if mode == "binary":
        headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
        content = ("content-type", b"application/json")
        return Output(
            topic, event.key.encode(), event.data_json, (*headers, content, *_trace(event))
        )
    body = {
        **attributes,
        "datacontenttype": "application/json",
        "data": orjson.Fragment(event.data_json),
    }
    content = ("content-type", STRUCTURED_TYPE.encode())
    return Output(topic, event.key.encode(), orjson.dumps(body), (content, *_trace(event)))


def rekeyed(record: Record, topic: str, key: str) -> Output:
    """Forward a record as it is to where its key belongs."""
    return Output(topic, key.encode(), record.value, record.headers)


def put_aside(record: Record, topic: str) -> Output:
    """Forward a late record as it is to the partition of `topic` that its own has the number of."""
    return Output(topic, record.key, record.value, record.headers, record.partition)


def _attributes(event: Event[BaseModel]) -> dict[str, str]:
    attributes = {
        "specversion": SPECVERSION,
        "id": event.id.removeprefix(identity(event.source, "")),
        "source": event.source or _SOURCE,
        "type": event.type or _TYPE,
        "time": rfc3339(event.time_ms),
    }
    if event.tenant != DEFAULT_TENANT:
        attributes["tenant"] = event.tenant
    return attributes


def _trace(event: Event[BaseModel]) -> Headers:
    return (("traceparent", event.traceparent.encode()),) if event.traceparent else ()
