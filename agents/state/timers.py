"""Timers: what an agent asked to be called for, by the events' time or by the clock, once.

A timer has a kind, which names who is called, and a key; setting it again replaces it. One is due
when the watermark (`event`) or the clock (`processing`) reaches its time. `due` takes it out within
the open batch: rolled back with it, gone for good once the batch is committed, so a clock that
jumps back fires nothing twice. Firings come by their time, then by their changelog key, those of
both domains in one row.

Changelog: key `tag` + length of the kind (2 bytes, big endian), kind, key; value, after the keyed
table's version: domain (1 byte: 1 event, 2 processing), due time (8, signed), payload.

    timers = Timers(b"t", entries_max=100_000)
    timers.begin()
    timers.set(Timer("label wait", "c1", due_ms=50, domain="event"))
    timers.changes(now_ms=0)
    timers.commit()
    timers.begin()
    timers.due(now_ms=9, watermark_ms=60, limit=100)    # [Firing(kind="label wait", key="c1", ...)]
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal, get_args

from batuta.agents.state.agenda import Agenda
from batuta.agents.state.codecs import RAW, Codec
from batuta.agents.state.listed import ListedTable
from batuta.schemas.errors import StateCorruptError

__all__ = ["DOMAINS", "Domain", "Firing", "Timer", "Timers"]

Domain = Literal["event", "processing"]
DOMAINS: Final[tuple[Domain, ...]] = get_args(Domain)

_KIND_LENGTH: Final = struct.Struct(">H")
_HEAD: Final = struct.Struct(">Bq")
_DOMAIN_CODES: Final[dict[Domain, int]] = {"event": 1, "processing": 2}
_DOMAIN_NAMES: Final[dict[int, Domain]] = {code: domain for domain, code in _DOMAIN_CODES.items()}


@dataclass(frozen=True, slots=True)
class Timer:
    """A call that somebody asked for.

    Attributes:
        kind: who is called: stable, snake case.
        key: for which key.
        due_ms: when, milliseconds since 1970 UTC.
        domain: by which clock.
        payload: handed back unread.
    """

    kind: str
    key: str
    due_ms: int
    domain: Domain
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Firing(Timer):
    """A timer whose time has come.

    Attributes:
        at_ms: the watermark or the clock that reached it.
    """

    at_ms: int = 0


class Timers(ListedTable[bytes, bytes]):
    """A StateTable of the timers of one lane."""

    def __init__(self, tag: bytes, *, entries_max: int, name: str = "timers") -> None:
        """Open an empty table that holds at most `entries_max` timers."""
        super().__init__(tag, Codec(RAW, RAW), name, entries_max=entries_max)
        self._agendas: dict[Domain, Agenda] = {domain: Agenda() for domain in DOMAINS}

    def set(self, timer: Timer) -> None:
        """Set `timer` in place of the one of its kind and key, if there is one.

        Raises:
            StateFullError: there is none, and the table is at its bound.
        """
        name = _name(timer.kind, timer.key)
        head = _HEAD.pack(_DOMAIN_CODES[timer.domain], timer.due_ms)
        self._table.put(name, head + timer.payload)
        self._schedule(name, timer.domain, timer.due_ms)

    def cancel(self, kind: str, key: str) -> bool:
        """Take the timer of this kind and key away; say whether there was one."""
        name = _name(kind, key)
        was_set = self._table.delete(name)
        self._schedule(name, None)
        return was_set

    def get(self, kind: str, key: str) -> Timer | None:
        """Return the timer of this kind and key, or None."""
        name = _name(kind, key)
        raw = self._table.get(name)
        if raw is None:
            return None
        due_ms, domain, payload = _decode(raw)
        return Timer(kind, key, due_ms, domain, payload)

    def due(self, now_ms: int, watermark_ms: int, limit: int) -> list[Firing]:
        """Take out the timers whose time has come, within the open batch.

        Args:
            now_ms: the clock, for timers of processing time.
            watermark_ms: the lane's watermark, for timers of event time.
            limit: how many to take at most; the others stay for the next batch.
        """
        firings: list[Firing] = []
        reached: dict[Domain, int] = {"event": watermark_ms, "processing": now_ms}
        while len(firings) < limit and (earliest := self._earliest(reached)) is not None:
            name, domain = earliest
            raw = self._table.get(name)
            assert raw is not None, "an agenda names what the table holds"
            self._table.delete(name)
            kind, key = _split(name)
            due_ms, _, payload = _decode(raw)
            firings.append(Firing(kind, key, due_ms, domain, payload, at_ms=reached[domain]))
        return firings

    def next_due(self, domain: Domain) -> int | None:
        """Return when the earliest timer of `domain` is due, or None."""
        first = self._agendas[domain].first()
        return None if first is None else first[0]

    def _earliest(self, reached: dict[Domain, int]) -> tuple[bytes, Domain] | None:
        """Take the earliest timer that is due from its agenda."""
        firsts: list[tuple[int, bytes, Domain]] = [
            (first[0], first[1], domain)
            for domain, agenda in self._agendas.items()
            if (first := agenda.first()) is not None and first[0] <= reached[domain]
        ]
        if not firsts:
            return None
        due_ms, name, domain = min(firsts)
        self._agendas[domain].take(due_ms, limit=1)
        return name, domain

    def _relist(self, key: bytes) -> None:
        _split(key)
        raw = self._table.get(key)
        if raw is None:
            self._schedule(key, None)
        else:
            due_ms, domain, _ = _decode(raw)
            self._schedule(key, domain, due_ms)

    def _schedule(self, name: bytes, domain: Domain | None, due_ms: int = 0) -> None:
        for each, agenda in self._agendas.items():
            agenda.put(name, due_ms if each == domain else None)


def _name(kind: str, key: str) -> bytes:
    encoded = kind.encode()
    return _KIND_LENGTH.pack(len(encoded)) + encoded + key.encode()


def _split(name: bytes) -> tuple[str, str]:
    """Return kind and key."""
    try:
        end = _KIND_LENGTH.size + _KIND_LENGTH.unpack_from(name)[0]
        return name[_KIND_LENGTH.size : end].decode(), name[end:].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise StateCorruptError(f"{name[:32]!r} names no timer") from error


def _decode(raw: bytes) -> tuple[int, Domain, bytes]:
    """Return due time, domain and payload."""
    try:
        code, due_ms = _HEAD.unpack_from(raw)
        return due_ms, _DOMAIN_NAMES[code], raw[_HEAD.size :]
    except (struct.error, KeyError) as error:
        raise StateCorruptError(f"a timer is damaged: {raw[:32]!r}") from error
