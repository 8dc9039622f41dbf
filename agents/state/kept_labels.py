"""Labels that a lane keeps: those whose event has not come yet, and the last one of each event.

Each is kept until a time by the clock, so that a label may come before its event, and a correction
be told from what it corrects. Where there are too many the one that ends first makes way.

Changelog: key `tag` + length of the tenant in characters, `:`, tenant and event id, in UTF-8;
value, after the keyed table's version: when it became known (8 bytes, signed, big endian), until
when it is kept (8), the label and whether its event has come (1 byte each).

    labels = KeptLabels(b"l", entries_max=1_000)
    labels.begin()
    labels.put(LabelName("default", "e1"), KeptLabel(1_000, 60_000, label=True, matched=False))
    labels.due(now_ms=60_000, limit=10)    # [(LabelName("default", "e1"), KeptLabel(...))]
"""

from typing import Final, NamedTuple

from batuta.agents.state.agenda import Agenda
from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.listed import ListedTable
from batuta.schemas.errors import StateCorruptError

__all__ = ["KeptLabel", "KeptLabels", "LabelName"]

_LAYOUT: Final = ">qq??"


class LabelName(NamedTuple):
    """Whose label it is."""

    tenant: str
    event_id: str


class KeptLabel(NamedTuple):
    """A label, until when it is kept, and whether its event has come."""

    label_time_ms: int
    until_ms: int
    label: bool
    matched: bool


class KeptLabels(ListedTable[str, KeptLabel]):
    """A StateTable of the labels of one lane."""

    def __init__(self, tag: bytes, entries_max: int) -> None:
        """Open an empty table of at most `entries_max` labels."""
        codec = Codec(TEXT, Packed(_LAYOUT, KeptLabel))
        super().__init__(tag, codec, "labels", entries_max=entries_max)
        self._entries_max = entries_max
        self._agenda = Agenda()

    def get(self, name: LabelName) -> KeptLabel | None:
        """Return the label of an event, or None."""
        return self._table.get(_written(name))

    def put(self, name: LabelName, kept: KeptLabel) -> tuple[LabelName, KeptLabel] | None:
        """Keep a label in place of the one there was; return the one that made way, if one did."""
        written = _written(name)
        full = written not in self._table and len(self._table) >= self._entries_max
        gone = self._taken(until=(1 << 63) - 1, limit=1) if full else []
        self._table.put(written, kept)
        self._agenda.set(written.encode(), kept.until_ms)
        return gone[0] if gone else None

    def due(self, now_ms: int, limit: int) -> list[tuple[LabelName, KeptLabel]]:
        """Take out what is kept no longer, at most `limit`, the earliest first."""
        return self._taken(now_ms, limit)

    def _taken(self, until: int, limit: int) -> list[tuple[LabelName, KeptLabel]]:
        taken: list[tuple[LabelName, KeptLabel]] = []
        for _, raw in self._agenda.take(until, limit):
            written = raw.decode()
            kept = self._table.get(written)
            assert kept is not None, "the agenda names what the table holds"
            self._table.delete(written)
            taken.append((_read(written), kept))
        return taken

    def _relist(self, key: str) -> None:
        _read(key)
        kept = self._table.get(key)
        self._agenda.put(key.encode(), None if kept is None else kept.until_ms)


def _written(name: LabelName) -> str:
    return f"{len(name.tenant)}:{name.tenant}{name.event_id}"


def _read(written: str) -> LabelName:
    length, _, rest = written.partition(":")
    if not length.isdecimal() or int(length) >= len(rest):
        raise StateCorruptError(f"{written[:32]!r} names no label")
    end = int(length)
    return LabelName(rest[:end], rest[end:])
