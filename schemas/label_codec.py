"""Labels, the index of events and outcomes between bytes and values; internal, so compact.

Each body names its `kind`: what was refused comes back on one redrive topic, whatever it was.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from batuta.schemas.labels import (
    INDEX_VERSION,
    LABEL_VERSION,
    OUTCOME_VERSION,
    EventIndex,
    Label,
    LabelOutcome,
)
from batuta.schemas.message_reading import Messages, read_all, read_message
from batuta.schemas.record import Output, Record

__all__ = [
    "LabelWire",
    "OutcomeWire",
    "decode_learning",
    "encode_index",
    "encode_label",
    "encode_outcome",
    "kind_of",
    "read_outcome",
]

Text = Annotated[str, Field(min_length=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    version: Annotated[int, Field(ge=1, le=1)]


class LabelWire(_Wire):
    """A label on `.labels`."""

    kind: Literal["label"]
    event_id: Text
    tenant: Text
    label: bool
    label_time_ms: int


class _IndexWire(_Wire):
    kind: Literal["index"]
    event_ids: Annotated[tuple[Text, ...], Field(strict=False)]
    tenants: Annotated[tuple[Text, ...], Field(strict=False)]
    scoring_keys: Annotated[tuple[Text, ...], Field(strict=False)]
    event_times_ms: Annotated[tuple[int, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _even(self) -> Self:
        columns = (self.tenants, self.scoring_keys, self.event_times_ms)
        if any(len(column) != len(self.event_ids) for column in columns):
            raise ValueError("its columns differ in length")
        return self


class OutcomeWire(_Wire):
    """An outcome on `.outcomes`."""

    kind: Literal["outcome"]
    event_id: Text
    tenant: Text
    scoring_key: Text
    event_time_ms: int
    label: bool
    previous: bool | None
    label_time_ms: int


def encode_label(label: Label, topic: str) -> Output:
    """Write a label, keyed by its event."""
    body = {"version": LABEL_VERSION, "kind": "label", **label._asdict()}
    return Output(topic, label.event_id.encode(), orjson.dumps(body))


def encode_index(index: EventIndex, topic: str, partition: int) -> Output:
    """Write a part of the index to the partition of its events' ids."""
    body = {"version": INDEX_VERSION, "kind": "index", **index._asdict()}
    return Output(topic, None, orjson.dumps(body), (), partition)


def encode_outcome(outcome: LabelOutcome, topic: str) -> Output:
    """Write an outcome, keyed as `.ingested`."""
    body = {"version": OUTCOME_VERSION, "kind": "outcome", **outcome._asdict()}
    return Output(topic, outcome.scoring_key.encode(), orjson.dumps(body))


def decode_learning(records: Sequence[Record], _now_ms: int = 0) -> Messages[Label | EventIndex]:
    """Read a batch of what learning joins; what is neither is refused."""
    return read_all(_read_either, records)


def read_outcome(record: Record) -> LabelOutcome:
    """Read one outcome.

    Raises:
        RefusedEventError: it is none of a version known here.
    """
    wire = read_message(OutcomeWire, record)
    return LabelOutcome(
        wire.event_id,
        wire.tenant,
        wire.scoring_key,
        wire.event_time_ms,
        wire.label,
        wire.previous,
        wire.label_time_ms,
    )


def kind_of(record: Record) -> str:
    """Return which kind of message a record says that it is; "" where it says none."""
    try:
        found: object = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return ""
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def _read_either(record: Record) -> Label | EventIndex:
    if kind_of(record) != "index":
        wire = read_message(LabelWire, record)
        return Label(wire.event_id, wire.tenant, wire.label, wire.label_time_ms)
    index = read_message(_IndexWire, record)
    return EventIndex(index.event_ids, index.tenants, index.scoring_keys, index.event_times_ms)
