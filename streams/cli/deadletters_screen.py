"""One dead letter, for people and for programs, without what is personal unless it is revealed."""

import json
import math
from typing import TYPE_CHECKING, Final, cast

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from batuta.schemas.fixes import ABSENT, Change
from batuta.schemas.letter_value import open_value
from batuta.schemas.masking import hidden
from batuta.streams.cli.records import when

if TYPE_CHECKING:
    from batuta.schemas.masking import Mask
    from batuta.schemas.record import Record
    from batuta.schemas.redriven import Marker
    from batuta.streams.cli.deadletters_options import Bureau
    from batuta.streams.deadletters.dead_letters import Found

__all__ = ["Screen", "change_as_json", "change_as_text"]

_VALUE_CHARACTERS_MAX: Final = 4_000


class Screen:
    """Shows the dead letters of one pipeline.

    Args:
        bureau: whose.
        reveal: whether personal fields are shown.
    """

    def __init__(self, bureau: "Bureau", *, reveal: bool) -> None:
        self._doors = bureau.doors
        self._topic = bureau.topics.deadletters
        self._reveal = reveal

    def as_json(self, found: "Found", marker: "Marker | None") -> dict[str, object]:
        """Return a dead letter as one JSON object."""
        letter, mask = found.letter, self.mask_of(found)
        record = letter.record
        key = _text(record.key)
        kind, value = self._value(record, mask)
        return {
            "id": str(found.id),
            "stage": letter.stage,
            "reason": letter.reason,
            "path": letter.path,
            "detail": letter.detail,
            "attempts": letter.attempts,
            "refused_at": when(letter.refused_at_ms),
            "redriven_at": None if marker is None else when(marker.redriven_at_ms),
            "fixed": None if marker is None else marker.fixed,
            "source": {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": when(record.timestamp_ms),
            },
            "key": key if mask is None else mask.key(key),
            "headers": _headers(record, mask),
            "value_is": kind,
            "value": value,
        }

    def as_text(self, found: "Found", marker: "Marker | None") -> RenderableType:
        """Return a dead letter as a page to read."""
        told = self.as_json(found, marker)
        letter, record = found.letter, found.letter.record
        page = Table.grid(padding=(0, 2))
        page.add_column(style="bold", min_width=8, no_wrap=True)
        page.add_column(overflow="fold")
        where = f"{record.topic} [{record.partition}] @{record.offset}"
        tries = "" if letter.attempts == 1 else f", after {letter.attempts} attempts"
        page.add_row("why", Text(letter.detail))
        page.add_row("where", Text(f"{where}, published {when(record.timestamp_ms)}"))
        page.add_row("refused", Text(f"by {letter.stage} at {when(letter.refused_at_ms)}{tries}"))
        page.add_row("redriven", _fate(marker))
        page.add_row("key", Text(str(told["key"]) if record.key is not None else "(none)"))
        page.add_row("headers", _lines(told["headers"]))
        page.add_row("value", _cut(told["value_is"], told["value"]))
        title = Text(str(found.id), style="bold cyan")
        title.append(f"  {letter.reason}", style="red")
        title.append(f"  {letter.path}" if letter.path else "", style="default")
        return Group(title, page, "")

    def mask_of(self, found: "Found") -> "Mask | None":
        """Return what hides the personal fields of a dead letter, None where nothing is hidden."""
        door = self._doors.get(found.letter.stage) or self._doors["ingestion"]
        return None if self._reveal or not door.mask.hides else door.mask

    @staticmethod
    def _value(record: "Record", mask: "Mask | None") -> tuple[str, object]:
        """Return what a value is, and the value as it may be shown."""
        value = record.value
        if value is None:
            return "null", None
        opened = open_value(value, record.headers)
        if opened is not None:
            members = opened.envelope
            shown: object = opened.data if members is None else members
            if mask is not None:
                shown = mask.value(opened.data) if members is None else mask.envelope(members)
            return "json", _printable(shown)
        kind = "text" if _is_text(value) else "bytes"
        if mask is not None:
            return kind, f"<{len(value):,} bytes that are not JSON; --reveal shows them>"
        return kind, _text(value)


def change_as_json(change: Change, mask: "Mask | None") -> dict[str, object]:
    """Return one difference between a dead letter and its mended record."""
    before, after = (_side(change, side, mask) for side in (change.before, change.after))
    told: dict[str, object] = (
        {"header": change.header} if change.header else {"path": _path(change)}
    )
    if change.before is not ABSENT:
        told["before"] = before
    if change.after is not ABSENT:
        told["after"] = after
    return told


def change_as_text(change: Change, mask: "Mask | None") -> Text:
    """Return one difference as two lines, the old one and the new one."""
    name = f"header {change.header}" if change.header else _path(change) or "value"
    text = Text()
    for mark, side, style in (("-", change.before, "red"), ("+", change.after, "green")):
        if side is not ABSENT:
            shown = json.dumps(_side(change, side, mask), ensure_ascii=False)
            text.append(f"    {mark} {name}: {_short(shown)}\n", style=style)
    text.right_crop()
    return text


def _side(change: Change, side: object, mask: "Mask | None") -> object:
    if side is ABSENT:
        return side
    if mask is None:
        return _printable(side)
    if change.header is not None:
        return mask.header(change.header, str(side))
    if not change.path and isinstance(side, str):
        return hidden(side)
    path = tuple(part for part in change.path if isinstance(part, str))
    return _printable(mask.value(side, path))


def _path(change: Change) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in change.path)
    return "/".join(parts)


def _headers(record: "Record", mask: "Mask | None") -> dict[str, str]:
    if mask is not None:
        return mask.headers(record.headers)
    return {name: _text(raw or b"") or "" for name, raw in record.headers}


def _fate(marker: "Marker | None") -> Text:
    if marker is None:
        return Text("not yet", style="yellow")
    how = "fixed" if marker.fixed else "unchanged"
    return Text(f"{when(marker.redriven_at_ms)}, {how}", style="green")


def _lines(headers: object) -> Text:
    assert isinstance(headers, dict)
    pairs = cast("dict[str, str]", headers).items()
    return Text("\n".join(f"{name}={text}" for name, text in pairs) or "(none)")


def _cut(kind: object, value: object) -> Text:
    if kind == "null":
        return Text("(null)", style="dim")
    whole = json.dumps(value, indent=2, ensure_ascii=False) if kind == "json" else str(value)
    if len(whole) <= _VALUE_CHARACTERS_MAX:
        return Text(whole)
    rest = len(whole) - _VALUE_CHARACTERS_MAX
    text = Text(whole[:_VALUE_CHARACTERS_MAX])
    return text.append(f"\n... {rest:,} characters more; --json prints them", style="dim")


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004 - a line or two


def _printable(value: object) -> object:
    """Return what every reader of JSON takes: what JSON does not have becomes text."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {str(_printable(name)): _printable(one) for name, one in members.items()}
    if isinstance(value, list):
        return [_printable(one) for one in cast("list[object]", value)]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
