"""What each stage of a pipeline reads: whether it would accept a record, by whose key, masked how.

For those who look at a stage's records from outside it: the same codec, asked about one record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel

from batuta.schemas.codec import (
    EventCodec,
    Refused,
    decode_budgeting,
    decode_escalation,
    decode_learning,
    decode_scoring,
)
from batuta.schemas.decision import Decision
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.ingested import Ingested
from batuta.schemas.label_codec import LabelWire
from batuta.schemas.labels import EventIndex, Label, LabelOutcome
from batuta.schemas.lease_codec import LeaseRequestWire
from batuta.schemas.masking import Mask
from batuta.schemas.message_codec import decode_notifications
from batuta.schemas.personal import personal_fields
from batuta.schemas.pipeline import Pipeline, Source
from batuta.schemas.record import Record
from batuta.schemas.review import Case, Verdict
from batuta.schemas.wire import WRITTEN, DecisionWire, IngestedWire, NotificationWire

__all__ = ["Door", "stage_doors"]

ItemT = TypeVar("ItemT")
ItemT_co = TypeVar("ItemT_co", covariant=True)


class _Decoded(Protocol[ItemT_co]):
    @property
    def items(self) -> Sequence[ItemT_co]: ...

    @property
    def refused(self) -> Sequence[Refused]: ...


@dataclass(frozen=True)
class Door:
    """One stage's input.

    Attributes:
        refusal: why the stage would refuse a record by itself at a time, None where it would not.
        key: the key an acceptable record belongs under: its own, unless a fix has changed it.
        mask: hides what is personal in what the stage reads.
    """

    refusal: Callable[[Record, int], RefusedEventError | None]
    key: Callable[[Record, int], bytes | None]
    mask: Mask


def stage_doors(
    pipeline: Pipeline, data: type[BaseModel], label: type[BaseModel] | None = None
) -> Mapping[str, Door]:
    """Return the door of each stage that writes dead letters, by name, in route order.

    Args:
        pipeline: as declared.
        data: the schema of its events' payload.
        label: that of its labels, where it has any.
    """
    source = pipeline.source
    personal = personal_fields(data)
    source_key, scoring_key = source.key_field in personal, pipeline.scoring_key_field in personal
    named = source.id_field in personal
    entity = _those({"entity": source_key, "event_id": named})
    keys = entity | _those({"scoring_key": scoring_key})
    events = EventCodec(source, data)
    careful = bool(personal)
    written = frozenset(WRITTEN if careful else ())
    return {
        # Ingestion moves by itself what lies outside its key's partition.
        "ingestion": _door(events.decode, Mask(data, key=source_key), None),
        **_label_doors(pipeline, label, source_key=source_key, careful=careful),
        "scoring": _door(
            decode_scoring,
            Mask(IngestedWire, keys, data, key=scoring_key),
            # What answers a lane belongs to the one that asked, whatever its key.
            lambda item: item.scoring_key if isinstance(item, Ingested | LabelOutcome) else None,
        ),
        "budgeting": _door(
            decode_budgeting, Mask(LeaseRequestWire, careful=careful), lambda item: item.budget
        ),
        "escalation": _door(
            decode_escalation,
            Mask(DecisionWire, entity | written, key=source_key, careful=careful),
            _escalated,
        ),
        "notification": _door(
            decode_notifications,
            Mask(NotificationWire, _those({"event_id": named}), careful=careful),
            lambda item: item.pipeline,
        ),
    }


def _label_doors(
    pipeline: Pipeline, label: type[BaseModel] | None, *, source_key: bool, careful: bool
) -> dict[str, Door]:
    """Return the doors on the way of labels; feedback may come under the source's key."""
    rule = pipeline.labels
    if rule is None or label is None:
        return {}
    feedback = EventCodec(Source.of_labels(rule), label)
    return {
        "rekeying": _door(feedback.decode, Mask(label, key=source_key, careful=careful), None),
        "learning": _door(decode_learning, Mask(LabelWire, careful=careful), _event_of),
    }


def _escalated(item: Decision | Case | Verdict) -> str:
    """Return under which key escalation reads what it does."""
    return item.entity if isinstance(item, Decision) else item.case_id


def _event_of(item: Label | EventIndex) -> str | None:
    """Return under which key learning reads a label; parts of the index have none."""
    return item.event_id if isinstance(item, Label) else None


def _door(
    decode: Callable[[Sequence[Record], int], _Decoded[ItemT]],
    mask: Mask,
    key_of: Callable[[ItemT], str | None] | None,
) -> Door:
    def refusal(record: Record, now_ms: int) -> RefusedEventError | None:
        refused = decode([record], now_ms).refused
        return refused[0].error if refused else None

    def key(record: Record, now_ms: int) -> bytes | None:
        items = decode([record], now_ms).items
        found = None if key_of is None or not items else key_of(items[0])
        return record.key if found is None else found.encode()

    return Door(refusal, key, mask)


def _those(paths: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(path for path, personal in paths.items() if personal)
