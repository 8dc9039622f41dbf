"""One record, for people and for programs."""

from datetime import UTC, datetime

import orjson
from rich.text import Text

from batuta.schemas.record import Headers, Record

__all__ = ["as_json", "as_text", "at", "clock", "shown_value", "when"]


def when(time_ms: int) -> str:
    """Return a time as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(time_ms: int) -> str:
    """Return the time of day in UTC, to the millisecond."""
    return when(time_ms)[11:23]


def at(record: Record) -> str:
    """Return where a record lies: topic, partition and offset."""
    return f"{record.topic} [{record.partition}] @{record.offset}"


def as_json(record: Record) -> dict[str, object]:
    """Return a record as one JSON object; a value that is JSON stands in it as such."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": when(record.timestamp_ms),
        "key": _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers},
        "value": shown_value(record.value),
    }


def shown_value(value: bytes | None) -> object:
    """Return a value as JSON where it is, else as text with what is not UTF-8 escaped."""
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return _text(value)


def as_text(record: Record) -> Text:
    """Return a record as one coloured line: when, where, key, headers, value."""
    line = Text(clock(record.timestamp_ms), style="dim")
    line.append(f" {record.partition}@{record.offset} ", style="dim")
    line.append(_text(record.key) or "-", style="cyan")
    line.append(_headers(record.headers), style="dim")
    value = "(null)" if record.value is None else _text(record.value) or ""
    return line.append(" ").append(value, style="default" if record.value else "dim")


def _headers(headers: Headers) -> str:
    return "".join(f" {name}={_text(value)}" for name, value in headers)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")
