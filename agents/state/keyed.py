"""A keyed table: typed entries, held as the bytes of their changelog, with undo per open batch.

Reads see the newest write. A value that was read may be changed freely: only `put` changes the
table. With `ttl_ms` an entry ends that long after the batch that last wrote it, by the clock given
to `changes`; at most `EXPIRED_MAX` end with one batch, the earliest first, the others with the
next ones. Beyond `entries_max` a new key is refused with StateFullError.

What a batch costs goes by what it writes, never by what is held: a write keeps what stood there
before in the batch's layer; commit drops the oldest layer, rollback puts the newest one back. A
value that cannot be changed in place is encoded once per batch, all of them together with its
changes, and decoded once as long as it is in use: such values, and the bytes of keys in use, are
kept too, within a bound.

Changelog: key `tag` + the codec's bytes of the key. Value, version 1: the codec's bytes of the
value; version 2: the time at which the entry ends (8 bytes, signed, big endian), then those bytes.
Each table reads both: an entry without an end gets one with its next write, or is given the whole
time to live once more when it is loaded.

    seen = KeyedTable(b"s", Codec(TEXT, INT), "seen", entries_max=1_000_000, ttl_ms=86_400_000)
    seen.begin()
    seen.put("c1", (seen.get("c1") or 0) + 1)
    seen.changes(now_ms=0)
    seen.commit()
"""

import struct
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from batuta.agents.state.agenda import Agenda
from batuta.agents.state.codecs import Codec, encoder_of_many
from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError, StateFullError

__all__ = ["EXPIRED_MAX", "KeyedTable"]

#: So many entries end with one batch at most: its transaction must stay small.
EXPIRED_MAX: Final = 10_000

#: Of so many keys their bytes are kept, and their values where these cannot be changed in place.
_KEPT_MAX: Final = 50_000

_PLAIN: Final = 1
_ENDING: Final = 2
_PLAIN_BYTE: Final = bytes([_PLAIN])
_ENDING_BYTE: Final = bytes([_ENDING])
_ENDING_HEAD: Final = struct.Struct(">Bq")

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


@dataclass(slots=True)
class _Layer:
    """What stood in the table, and when it was to end, before the batch wrote there."""

    values: dict[bytes, bytes | None] = field(default_factory=dict[bytes, bytes | None])
    ends: dict[bytes, int | None] = field(default_factory=dict[bytes, int | None])
    told: bool = False


class KeyedTable(Generic[KeyT, ValueT]):
    """A StateTable of the entries of one lane."""

    def __init__(
        self,
        tag: bytes,
        codec: Codec[KeyT, ValueT],
        name: str,
        *,
        entries_max: int,
        ttl_ms: int | None = None,
    ) -> None:
        """Open an empty table.

        Args:
            tag: the first byte of its changelog keys.
            codec: how keys and values are written.
            name: what errors call it.
            entries_max: the bound on entries held.
            ttl_ms: how long an entry outlives its last write; for ever by default.
        """
        assert len(tag) == 1, tag
        assert entries_max > 0, entries_max
        assert ttl_ms is None or ttl_ms > 0, ttl_ms
        self.tag = tag
        self.name = name
        self._entries_max = entries_max
        self._ttl_ms = ttl_ms
        self._encode_key, self._decode_key = codec.keys.encode, codec.keys.decode
        self._encode_value, self._decode_value = codec.values.encode, codec.values.decode
        self._encode_values = encoder_of_many(codec.values, _PLAIN)
        self._lasting_values = getattr(codec.values, "immutable", False)
        #: Of keys in use: their bytes, and the values as they were put or read.
        self._raw_keys: dict[KeyT, bytes] = {}
        self._values: dict[KeyT, ValueT] = {}
        #: What the open batch put, until all of it is written at once.
        self._written: dict[KeyT, ValueT] = {}
        #: By changelog key, what the changelog of a table without ends has: version and value.
        self._held: dict[bytes, bytes] = {}
        self._ends = Agenda()
        #: Loaded without an end into a table that has one.
        self._endless: list[bytes] = []
        self._layers: deque[_Layer] = deque()
        #: What the newest layer keeps, while it may be written to.
        self._before: dict[bytes, bytes | None] | None = None
        #: So many keys may be put before it matters whether they are new.
        self._room = 0

    def __len__(self) -> int:
        """Return how many entries are held."""
        self._write_put()
        return len(self._held)

    def __contains__(self, key: KeyT) -> bool:
        """Say whether `key` has an entry."""
        self._write_put()
        return self._raw_key(key) in self._held

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value of `key`, a fresh one each time, or None.

        Raises:
            StateCorruptError: what was loaded for this key cannot be decoded.
        """
        value = self._values.get(key)
        if value is not None:
            return value
        raw = self._held.get(self._raw_keys.get(key) or self._raw_key(key))
        if raw is None:
            return None
        value = self._decode_value(raw[1:])
        if self._lasting_values:
            self._values[key] = value
        return value

    def put(self, key: KeyT, value: ValueT) -> None:
        """Set the value of `key`; its time to live begins anew.

        Raises:
            StateFullError: the key is new, and the table is at its bound.
        """
        if len(self._written) >= self._room:
            self._admit(key)
        if self._lasting_values:
            self._written[key] = self._values[key] = value
            return
        before, held = self._before, self._held
        assert before is not None, "writes belong between begin and changes"
        raw_key = self._raw_keys.get(key) or self._raw_key(key)
        before.setdefault(raw_key, held.get(raw_key))
        held[raw_key] = _PLAIN_BYTE + self._encode_value(value)

    def _admit(self, key: KeyT) -> None:
        """Look closely whether there is room for `key`."""
        assert self._before is not None, "writes belong between begin and changes"
        if key not in self and len(self._held) >= self._entries_max:
            raise self._full()

    def delete(self, key: KeyT) -> bool:
        """Remove the entry of `key`; say whether there was one."""
        self._write_put()
        before = self._before
        assert before is not None, "writes belong between begin and changes"
        raw_key = self._raw_key(key)
        previous = self._held.pop(raw_key, None)
        if previous is None:
            return False
        self._values.pop(key, None)
        before.setdefault(raw_key, previous)
        return True

    def items(self) -> Iterator[tuple[KeyT, ValueT]]:
        """Yield every entry, by the order of the keys' bytes. Nothing may be written meanwhile."""
        self._write_put()
        for raw_key in sorted(self._held):
            yield self._decode_key(raw_key[1:]), self._decode_value(self._held[raw_key][1:])

    def touched(self) -> Collection[KeyT]:
        """Return the keys that the newest open batch wrote."""
        self._write_put()
        return [self._decode_key(raw_key[1:]) for raw_key in self._layers[-1].values]

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._layers or self._layers[-1].told, (
            "the batch before has not told its changes"
        )
        if len(self._raw_keys) > _KEPT_MAX or len(self._values) > _KEPT_MAX:
            self._raw_keys.clear()
            self._values.clear()
        layer = _Layer()
        self._layers.append(layer)
        self._before = layer.values
        self._room = self._entries_max - len(self._held) if self._lasting_values else 0

    def changes(self, now_ms: int) -> list[Change]:
        """End what has outlived its time, and return what the batch changed."""
        assert self._before is not None, "changes are told once, after begin"
        layer = self._layers[-1]
        layer.told = True
        self._write_put()
        self._before, self._room = None, 0
        if self._ttl_ms is not None:
            self._end(layer, now_ms, self._ttl_ms)
        held, before = self._held, layer.values
        if self._ttl_ms is None:
            return [
                (raw_key, now)
                for raw_key, previous in before.items()
                if (now := held.get(raw_key)) != previous
            ]
        return [
            (raw_key, None if (now := held.get(raw_key)) is None else self._write(raw_key, now))
            for raw_key in sorted(before)
            if held.get(raw_key) != before[raw_key] or before[raw_key] is not None
        ]

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        layer = self._layers.popleft()
        assert layer.told, "a batch tells its changes before it is committed"

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        layer, held = self._layers.pop(), self._held
        self._before, self._room = None, 0
        self._written.clear()
        self._values.clear()
        for raw_key, previous in layer.values.items():
            if previous is None:
                held.pop(raw_key, None)
            else:
                held[raw_key] = previous
        for raw_key, end_ms in layer.ends.items():
            self._ends.put(raw_key, end_ms)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record; its value is decoded when it is first read.

        Raises:
            StateCorruptError: the record is of a version or table this code does not know.
        """
        self.load_many((key,), (value,))

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back many changelog records, in order.

        Raises:
            StateCorruptError: one is of a version or table this code does not know.
        """
        assert not self._layers, "load comes before the first batch"
        self._values.clear()
        tag, held, plain = self.tag, self._held, self._ttl_ms is None
        ends: dict[bytes, int] = {}
        for key, value in zip(keys, values, strict=True):
            if key[:1] != tag:
                raise StateCorruptError(f"changelog key {key[:32]!r} is none of {self.name}")
            if value is not None and plain and value[:1] == _PLAIN_BYTE:
                held[key] = value
            else:
                self._ends.drop(key)
                ends.pop(key, None)
                self._load_other(key, value, ends)
        self._ends.fill(ends)

    def dump(self) -> Iterable[Change]:
        """Return everything held, as changelog records; only while no batch is open."""
        assert not self._layers, "a dump is taken between batches"
        return ((raw_key, self._write(raw_key, raw)) for raw_key, raw in self._held.items())

    def entries(self) -> int:
        """Return how many entries are held."""
        return len(self)

    def _end(self, layer: _Layer, now_ms: int, ttl_ms: int) -> None:
        """Give what was written its new end, then drop what has ended, unless just written."""
        held, ends = self._held, self._ends
        self._end_the_endless(now_ms + ttl_ms)
        layer.ends = ends.put_off(layer.values, now_ms + ttl_ms)
        for raw_key in layer.values:
            if raw_key not in held:
                ends.drop(raw_key)
        for end_ms, raw_key in ends.take(now_ms, EXPIRED_MAX):
            layer.ends[raw_key] = end_ms
            layer.values[raw_key] = held.pop(raw_key)
            if self._values:
                self._values.pop(self._decode_key(raw_key[1:]), None)

    def _end_the_endless(self, end_ms: int) -> None:
        held, ends, loaded = self._held, self._ends, self._endless
        if loaded:
            ends.fill({key: end_ms for key in loaded if key in held and ends.get(key) is None})
            loaded.clear()

    def _raw_key(self, key: KeyT) -> bytes:
        raw_key = self._raw_keys[key] = self.tag + self._encode_key(key)
        return raw_key

    def _write_put(self) -> None:
        """Write what the open batch put: all at once, for one by one it takes twice as long."""
        if not (written := self._written):
            return
        before, held, known = self._before, self._held, self._raw_keys
        assert before is not None, "what is put is written before the batch tells its changes"
        try:
            raw_keys = list(map(known.__getitem__, written))
        except KeyError:
            raw_keys = [known.get(key) or self._raw_key(key) for key in written]
        previous = zip(raw_keys, map(held.get, raw_keys), strict=True)
        if before:
            before.update([pair for pair in previous if pair[0] not in before])
        else:
            before.update(previous)
        held.update(zip(raw_keys, self._encode_values(written.values()), strict=True))
        written.clear()
        self._room = self._entries_max - len(held)

    def _write(self, raw_key: bytes, raw: bytes) -> bytes:
        end_ms = self._ends.get(raw_key)
        return raw if end_ms is None else _ENDING_HEAD.pack(_ENDING, end_ms) + raw[1:]

    def _load_other(self, key: bytes, value: bytes | None, ends: dict[bytes, int]) -> None:
        """Load what is more than an entry that has no end in a table that knows none."""
        if value is None:
            self._held.pop(key, None)
        elif value[:1] == _PLAIN_BYTE:
            self._held[key] = value
            self._endless.append(key)
        elif value[:1] == _ENDING_BYTE and len(value) >= _ENDING_HEAD.size:
            self._held[key] = _PLAIN_BYTE + value[_ENDING_HEAD.size :]
            if self._ttl_ms is not None:
                ends[key] = _ENDING_HEAD.unpack_from(value)[1]
        else:
            raise StateCorruptError(
                f"an entry of {self.name} has version {value[:1].hex() or 'none'}, "
                f"this release reads {_PLAIN} and {_ENDING}"
            )

    def _full(self) -> StateFullError:
        return StateFullError(
            f"the table {self.name} holds {len(self._held)} entries and takes no new key: "
            f"raise its entries_max of {self._entries_max}, shorten how long entries are kept, "
            "or spread the keys over more partitions"
        )
