"""Duplicates: an id seen before within a stated horizon, with the same payload or another one.

An id is remembered from its first arrival for `within_ms` by the arrival clock, or until more than
`entries_max` ids are remembered and it is among the oldest: the smaller horizon holds. Ids are kept
whole, so no two ids are ever taken for one. The payload is told by a digest of eight bytes.

What one batch adds is one delta: one changelog record (more only where a record would grow past
`DELTA_BYTES_MAX`), dropped whole with one tombstone when its horizon ends. Arrival is the batch's
clock; should that jump back, ids are remembered longer, bounded by `entries_max`.

Changelog: key `tag` + number of the delta (8 bytes, big endian); value version (1 byte), arrival
(8), count (4), digests (8 each), then the ids as a JSON array.

    known = Deduplication(b"d", within_ms=60_000, entries_max=1_000)
    known.begin()
    known.classify(["a", "a"], [b"payload1", b"payload1"], now_ms=0)    # ["new", "duplicate"]
    known.changes(now_ms=0)
    known.commit()
"""

import struct
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError

__all__ = ["DELTA_BYTES_MAX", "DIGEST_BYTES", "Deduplication", "Verdict"]

Verdict = Literal["new", "duplicate", "conflict"]

DIGEST_BYTES: Final = 8
#: A delta's ids and digests take at most about this much, well below the changelog's bound.
DELTA_BYTES_MAX: Final = 512 * 1024
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BqI")
_NUMBER: Final = struct.Struct(">Q")
#: What a character of an id takes at most in JSON, and what stands beside each id.
_CHARACTER_BYTES_MAX: Final = 6
_BESIDE_ID_BYTES: Final = 3 + DIGEST_BYTES


@dataclass(slots=True)
class _Delta:
    arrival_ms: int
    ids: list[str]


@dataclass(slots=True)
class _Layer:
    """One open batch: the ids it added, the deltas it made of them, and those it dropped."""

    added: list[str] = field(default_factory=list)
    deltas: list[int] = field(default_factory=list)
    dropped: dict[int, tuple[_Delta, list[bytes]]] = field(default_factory=dict)
    told: bool = False


class Deduplication:
    """A StateTable of the ids of one lane."""

    def __init__(self, tag: bytes, within_ms: int, entries_max: int) -> None:
        assert len(tag) == 1, tag
        assert within_ms > 0, within_ms
        assert entries_max > 0, entries_max
        self.tag = tag
        self._within_ms = within_ms
        self._entries_max = entries_max
        self._known: dict[str, bytes] = {}
        self._deltas: OrderedDict[int, _Delta] = OrderedDict()
        self._loaded: dict[int, tuple[_Delta, list[bytes]]] = {}
        self._layers: deque[_Layer] = deque()

    def classify(self, ids: Sequence[str], digests: Sequence[bytes], now_ms: int) -> list[Verdict]:
        """Say of each id whether it is new; remember those that are.

        Args:
            ids: in arrival order; later ones see earlier ones of the same call.
            digests: `DIGEST_BYTES` of payload digest per id.
            now_ms: the batch's clock.

        Returns:
            `duplicate` where the id is known with this digest, `conflict` where with another one.
        """
        assert self._layers, "classify belongs between begin and commit"
        layer = self._layers[-1]
        assert not layer.told, "the batch has told its changes"
        self._drop(layer, now_ms)
        known, added = self._known, layer.added
        verdicts: list[Verdict] = []
        for name, digest in zip(ids, digests, strict=True):
            before = known.get(name)
            if before is None:
                known[name] = digest
                added.append(name)
                verdicts.append("new")
            else:
                verdicts.append("duplicate" if before == digest else "conflict")
        return verdicts

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._layers or self._layers[-1].told, "the last batch told no changes"
        deque(self.settle(), maxlen=0)
        self._layers.append(_Layer())

    def changes(self, now_ms: int) -> list[Change]:
        """Return the deltas this batch added and the tombstones of those whose horizon ended."""
        layer = self._layers[-1]
        assert not layer.told, "changes are told once"
        layer.told = True
        self._drop(layer, now_ms)
        ended: list[Change] = [(self._key(number), None) for number in sorted(layer.dropped)]
        added: list[Change] = []
        # By what is held alone, so that a lane that restarted numbers as one that did not.
        first = 1 + max(next(reversed(self._deltas), -1), max(layer.dropped, default=-1))
        for number, ids in enumerate(_split(layer.added), first):
            delta = self._deltas[number] = _Delta(now_ms, ids)
            layer.deltas.append(number)
            added.append((self._key(number), self._encode(delta)))
        return ended + added

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        layer = self._layers.popleft()
        assert layer.told, "a batch is kept once it has told its changes"

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        layer = self._layers.pop()
        for number in layer.deltas:
            del self._deltas[number]
        for name in layer.added:
            del self._known[name]
        for number, (delta, digests) in reversed(layer.dropped.items()):
            self._known.update(zip(delta.ids, digests, strict=True))
            self._deltas[number] = delta
            self._deltas.move_to_end(number, last=False)

    def dump(self) -> Iterator[Change]:
        """Give every delta held, as changelog records."""
        assert not self._layers, "a batch is open"
        deque(self.settle(), maxlen=0)
        return ((self._key(number), self._encode(delta)) for number, delta in self._deltas.items())

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record, in any order in which a compacted topic may give them.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        assert not self._deltas, "load comes before the first batch"
        if len(key) != 1 + _NUMBER.size or key[:1] != self.tag:
            raise StateCorruptError(f"changelog key {key[:32]!r} names no deduplication delta")
        (number,) = _NUMBER.unpack(key[1:])
        if value is None:
            self._loaded.pop(number, None)
        else:
            self._loaded[number] = _decode(value)

    def entries(self) -> int:
        """Return how many ids are remembered; while loading, how many were read."""
        return len(self._known) + sum(len(delta.ids) for delta, _ in self._loaded.values())

    def settle(self) -> Iterator[None]:
        """Build the table from what was loaded; of an id in two deltas the younger one holds."""
        for number in sorted(self._loaded, reverse=True):
            delta, digests = self._loaded[number]
            fresh = [
                (n, d) for n, d in zip(delta.ids, digests, strict=True) if n not in self._known
            ]
            self._known.update(fresh)
            self._deltas[number] = _Delta(delta.arrival_ms, [name for name, _ in fresh])
            self._deltas.move_to_end(number, last=False)
            yield
        self._loaded.clear()

    def _drop(self, layer: _Layer, now_ms: int) -> None:
        while self._deltas:
            number = next(iter(self._deltas))
            ended = self._deltas[number].arrival_ms + self._within_ms <= now_ms
            if not ended and len(self._known) <= self._entries_max:
                return
            delta = self._deltas.pop(number)
            layer.dropped[number] = (delta, [self._known.pop(name) for name in delta.ids])

    def _key(self, number: int) -> bytes:
        return self.tag + _NUMBER.pack(number)

    def _encode(self, delta: _Delta) -> bytes:
        head = _HEAD.pack(_VERSION, delta.arrival_ms, len(delta.ids))
        return head + b"".join([self._known[n] for n in delta.ids]) + orjson.dumps(delta.ids)


def _split(ids: list[str]) -> list[list[str]]:
    """Cut `ids` so that each part stays within a record, without copying where it does."""
    if _size(ids) <= DELTA_BYTES_MAX:
        return [ids] if ids else []
    middle = len(ids) // 2
    return [ids] if middle == 0 else _split(ids[:middle]) + _split(ids[middle:])


def _size(ids: list[str]) -> int:
    return sum(map(len, ids)) * _CHARACTER_BYTES_MAX + len(ids) * _BESIDE_ID_BYTES


def _decode(value: bytes) -> tuple[_Delta, list[bytes]]:
    if value[:1] != bytes([_VERSION]):
        raise StateCorruptError(
            f"a deduplication delta has version {value[:1].hex() or 'none'}, "
            f"this release reads {_VERSION}"
        )
    try:
        _, arrival_ms, count = _HEAD.unpack_from(value)
        end = _HEAD.size + count * DIGEST_BYTES
        names: list[str] = orjson.loads(value[end:])
    except (struct.error, orjson.JSONDecodeError) as error:
        raise StateCorruptError(f"a deduplication delta is damaged: {error}") from error
    if len(names) != count:
        raise StateCorruptError(f"a deduplication delta names {len(names)} ids, not {count}")
    digests = [value[i : i + DIGEST_BYTES] for i in range(_HEAD.size, end, DIGEST_BYTES)]
    return _Delta(arrival_ms, names), digests
