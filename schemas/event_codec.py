"""Events between bytes and `Event`: CloudEvents in both modes, and bare JSON.

What JSON leaves open is decided here:

    duplicate names      the last one counts; only `Event.data_json`, which has each once, goes on
    numbers              never from text or truth values; NaN and infinities are refused
    whole numbers        of any size up to 4,300 digits, where the schema's bounds allow them
    lone surrogates      refused: they are no Unicode text
    nesting              refused beyond 200 levels
    nulls                an optional field that is null counts as absent
    unknown fields       ignored and counted, or refused where the source is strict; their values
                         must be JSON but NaN is not looked for there
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError

from batuta.schemas.canonical import Canonical
from batuta.schemas.cloudevents import (
    NO_ATTRIBUTES,
    Attributes,
    identity,
    looks_structured,
    read_structured,
    unwrap,
)
from batuta.schemas.errors import RefusedEventError, UsageError
from batuta.schemas.event import Event
from batuta.schemas.personal import personal_fields
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Record
from batuta.schemas.refusals import Refused, refusal_of
from batuta.schemas.times import EARLIEST_MS, LATEST_MS, rfc3339, time_ms

__all__ = ["Decoded", "EventCodec", "drop_unknown"]

DataT = TypeVar("DataT", bound=BaseModel)

_DAY_MS: Final = 86_400_000
_Extra = Literal["allow", "ignore", "forbid"]


@dataclass(frozen=True, slots=True)
class Decoded(Generic[DataT]):
    """A batch after the door: accepted events and refused records, each in batch order.

    Attributes:
        unknown_fields: how many fields of accepted events no schema knows; they were left out.
    """

    events: list[Event[DataT]]
    refused: list[Refused]
    unknown_fields: int

    @property
    def items(self) -> list[Event[DataT]]:
        """The accepted events."""
        return self.events


class EventCodec(Generic[DataT]):
    """Decodes the events of one source.

    Raises:
        UsageError: the source names a field that the data does not have, or a time that is none.
    """

    def __init__(self, source: Source, data: type[DataT]) -> None:
        _check(source, data)
        self._source = source
        self._model = data
        self._validate = data.__pydantic_validator__.validate_json
        self._canonical = Canonical(data)
        self._personal = personal_fields(data)
        self._extra: _Extra | None = _extra(source, data)
        self._nested = not self._canonical.plain

    def decode(self, records: Sequence[Record], now_ms: int) -> Decoded[DataT]:
        """Decode a batch; a bad record is refused, never raised, and its neighbours stay.

        Args:
            records: as read from the topic.
            now_ms: the clock, against which event times are absurd.
        """
        latest_ms = now_ms + self._source.ahead_ms_max
        counting = self._extra == "allow"
        rows: list[tuple[int, Attributes, str, str, int]] = []
        accepted: list[DataT] = []
        refused: list[Refused] = []
        unknown_fields = 0
        for position, record in enumerate(records):
            try:
                attributes, data = self._read(record)
                event_id, key, moment_ms = self._meaning(attributes, data)
                if not self._source.earliest_ms <= moment_ms <= latest_ms:
                    raise _absurd(self._source, moment_ms, latest_ms)
            except RefusedEventError as error:
                # Without its traceback, which would keep this whole batch alive.
                refused.append(Refused(position, error.with_traceback(None)))
                continue
            rows.append((position, attributes, event_id, key, moment_ms))
            accepted.append(data)
            if counting:
                unknown_fields += self._drop_unknown(data)
        written = self._canonical.write(accepted)
        events = [
            Event(
                event_id,
                key,
                moment_ms,
                data,
                data_json,
                records[position].timestamp_ms,
                position,
                attributes.tenant,
                attributes.source,
                attributes.type,
                attributes.traceparent,
            )
            for (position, attributes, event_id, key, moment_ms), data, data_json in zip(
                rows, accepted, written, strict=True
            )
        ]
        return Decoded(events, refused, unknown_fields)

    def wrap(self, data: DataT, attributes: Attributes) -> Event[DataT]:
        """Make the event that `data` would decode to, for those who publish.

        Args:
            data: the payload.
            attributes: CloudEvents attributes; the id counts where the source names no id field.
        """
        event_id, key, moment_ms = self._meaning(attributes, data)
        return Event(
            event_id,
            key,
            moment_ms,
            data,
            self._canonical.write([data])[0],
            published_ms=moment_ms,
            position=0,
            tenant=attributes.tenant,
            source=attributes.source,
            type=attributes.type,
            traceparent=attributes.traceparent,
        )

    def _read(self, record: Record) -> tuple[Attributes, DataT]:
        value = record.value
        if value is None:
            raise RefusedEventError("null_value", "the record has no value; an event needs one")
        if len(value) > self._source.value_bytes_max:
            limit = self._source.value_bytes_max
            detail = f"the value has {len(value)} bytes, more than the {limit} this pipeline takes"
            raise RefusedEventError("too_large", detail)
        payload, attributes = value, NO_ATTRIBUTES
        if record.headers:
            payload, attributes = unwrap(value, record.headers)
        try:
            return attributes, self._validate(payload, strict=True, extra=self._extra)
        except ValidationError as error:
            problem = error
        if not attributes.source and looks_structured(value):
            payload, attributes = read_structured(value, attributes.traceparent)
            try:
                return attributes, self._validate(payload, strict=True, extra=self._extra)
            except ValidationError as error:
                problem = error
        # Outside the handlers, so that the refusal does not keep what pydantic quotes.
        raise refusal_of(problem, payload, self._personal)

    def _meaning(self, attributes: Attributes, data: DataT) -> tuple[str, str, int]:
        source, fields = self._source, data.__dict__
        name = source.id_field
        if name is not None:
            event_id = _text(fields[name], name)
        elif attributes.source:
            event_id = identity(attributes.source, attributes.id)
        else:
            detail = "events of this pipeline are told apart by ce_source and ce_id"
            raise RefusedEventError("missing_attribute", detail, "ce_id")
        key = _text(fields[source.key_field], source.key_field)
        return event_id, key, time_ms(fields[source.time_field])

    def _drop_unknown(self, data: DataT) -> int:
        if self._nested:
            return drop_unknown(data)
        extra = data.__pydantic_extra__
        if not extra:
            return 0
        count = len(extra)
        extra.clear()
        return count


def drop_unknown(value: object) -> int:
    """Drop what no schema knows from a model and all within it; return how many fields that were.

    Args:
        value: a model validated with `extra="allow"`, or anything one may hold.
    """
    if isinstance(value, BaseModel):
        count = sum(drop_unknown(member) for member in value.__dict__.values())
        if value.model_extra and value.model_config.get("extra") != "allow":
            count += len(value.model_extra)
            value.model_extra.clear()
        return count
    if isinstance(value, dict):
        return sum(drop_unknown(member) for member in cast("dict[object, object]", value).values())
    if isinstance(value, list | tuple | set | frozenset):
        return sum(drop_unknown(member) for member in cast("Collection[object]", value))
    return 0


def _text(value: object, name: str) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if not text:
        raise RefusedEventError("missing_field", f"{name} is empty, but tells events apart", name)
    return text


def _absurd(source: Source, moment_ms: int, latest_ms: int) -> RefusedEventError:
    name = source.time_field
    moment = rfc3339(min(max(moment_ms, EARLIEST_MS), LATEST_MS))
    if moment_ms > latest_ms:
        ahead_ms = moment_ms - latest_ms + source.ahead_ms_max
        detail = (
            f"{name} {moment} is {_span(ahead_ms)} ahead of the clock, more than the "
            f"{_span(source.ahead_ms_max)} this pipeline accepts"
        )
    else:
        earliest = rfc3339(source.earliest_ms)
        detail = f"{name} {moment} is before {earliest}, the earliest this pipeline accepts"
    return RefusedEventError("absurd_time", detail, name)


def _span(span_ms: int) -> str:
    return f"{span_ms / _DAY_MS:.1f} days" if span_ms >= _DAY_MS else f"{span_ms / 1000:.0f} s"


def _extra(source: Source, data: type[BaseModel]) -> _Extra | None:
    declared = data.model_config.get("extra")
    if source.strict or declared == "forbid":
        return "forbid"
    # Allowed for a moment, to be counted and dropped; where the model keeps them they stay.
    return None if declared == "allow" else "allow"


def _check(source: Source, data: type[BaseModel]) -> None:
    fields = data.model_fields
    for setting in ("id_field", "key_field", "time_field"):
        name: str | None = getattr(source, setting)
        if name is not None and name not in fields:
            known = ", ".join(fields)
            raise UsageError(
                f"source.{setting}: {data.__name__} has no field {name!r}; expected one of {known}"
            )
    if fields[source.time_field].annotation is not datetime:
        raise UsageError(
            f"source.time_field: {source.time_field!r} of {data.__name__} is no time; "
            "expected a field of type EventTime"
        )
