"""Parts: what is remembered of ids, in parts of one batch each, for a horizon.

What one batch adds is one part (more only where its record would grow too large): one changelog
record, dropped whole with one tombstone when it has been held for `within_ms` by the clock, or when
more than `entries_max` ids are held and it is among the oldest: the smaller horizon holds. Should
the clock jump back, ids are held longer, bounded by `entries_max`.

Changelog: key `tag` + number of the part (8 bytes, big endian); the value is the codec's, and
begins with a version. `event_index.EventKeys` and `understanding.deduplication.Deduplication` are
such tables.
"""

import struct
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError

__all__ = ["Layer", "Part", "PartCodec", "PartTable"]

ValueT = TypeVar("ValueT")

_NUMBER: Final = struct.Struct(">Q")


@dataclass(slots=True)
class Part:
    """Ids that came in one batch."""

    arrival_ms: int
    ids: list[str]


class PartCodec(Protocol[ValueT]):
    """How a table's parts are cut and written.

    Attributes:
        name: what a part is called where one is damaged.
        elder_holds: of an id in two parts whether the older one holds, else the younger one.
    """

    name: str
    elder_holds: bool

    def cut(self, ids: list[str]) -> Sequence[list[str]]:
        """Cut what one batch added so that each part fits into a record."""
        ...

    def encode(self, part: Part, values: Sequence[ValueT]) -> bytes:
        """Write a part with the value of each of its ids."""
        ...

    def decode(self, value: bytes) -> tuple[Part, list[ValueT]]:
        """Read a part.

        Raises:
            StateCorruptError: it is of a version or shape this code does not know.
        """
        ...


@dataclass(slots=True)
class Layer(Generic[ValueT]):
    """One open batch: the ids it added, the parts it made of them, and those it dropped."""

    added: list[str] = field(default_factory=list[str])
    parts: list[int] = field(default_factory=list[int])
    dropped: dict[int, tuple[Part, list[ValueT]]] = field(
        default_factory=dict[int, tuple[Part, list[ValueT]]]
    )
    told: bool = False


class PartTable(Generic[ValueT]):
    """A StateTable of a value per id; what it may be asked its subclasses say."""

    def __init__(
        self, tag: bytes, codec: PartCodec[ValueT], within_ms: int, entries_max: int
    ) -> None:
        assert len(tag) == 1, tag
        assert within_ms > 0, within_ms
        assert entries_max > 0, entries_max
        self.tag = tag
        self._codec = codec
        self._within_ms = within_ms
        self._entries_max = entries_max
        self._known: dict[str, ValueT] = {}
        self._parts: OrderedDict[int, Part] = OrderedDict()
        self._loaded: dict[int, tuple[Part, list[ValueT]]] = {}
        self._layers: deque[Layer[ValueT]] = deque()

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._layers or self._layers[-1].told, "the last batch told no changes"
        deque(self.settle(), maxlen=0)
        self._layers.append(Layer())

    def changes(self, now_ms: int) -> list[Change]:
        """Return the parts this batch added and the tombstones of those whose horizon ended."""
        layer = self._layers[-1]
        assert not layer.told, "changes are told once"
        layer.told = True
        self._drop(layer, now_ms)
        ended: list[Change] = [(self._key(number), None) for number in sorted(layer.dropped)]
        added: list[Change] = []
        # By what is held alone, so that a lane that restarted numbers as one that did not.
        first = 1 + max(next(reversed(self._parts), -1), max(layer.dropped, default=-1))
        for number, ids in enumerate(self._codec.cut(layer.added), first):
            part = self._parts[number] = Part(now_ms, ids)
            layer.parts.append(number)
            added.append((self._key(number), self._encode(part)))
        return ended + added

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        layer = self._layers.popleft()
        assert layer.told, "a batch is kept once it has told its changes"

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        layer = self._layers.pop()
        for number in layer.parts:
            del self._parts[number]
        for name in layer.added:
            del self._known[name]
        for number, (part, values) in reversed(layer.dropped.items()):
            self._known.update(zip(part.ids, values, strict=True))
            self._parts[number] = part
            self._parts.move_to_end(number, last=False)

    def dump(self) -> Iterator[Change]:
        """Give every part held, as changelog records."""
        assert not self._layers, "a batch is open"
        deque(self.settle(), maxlen=0)
        return ((self._key(number), self._encode(part)) for number, part in self._parts.items())

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record, in any order in which a compacted topic may give them.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        assert not self._parts, "load comes before the first batch"
        if len(key) != 1 + _NUMBER.size or key[:1] != self.tag:
            raise StateCorruptError(f"changelog key {key[:32]!r} names no {self._codec.name}")
        (number,) = _NUMBER.unpack(key[1:])
        if value is None:
            self._loaded.pop(number, None)
        else:
            self._loaded[number] = self._codec.decode(value)

    def entries(self) -> int:
        """Return how many ids are held; while loading, how many were read."""
        return len(self._known) + sum(len(part.ids) for part, _ in self._loaded.values())

    def settle(self) -> Iterator[None]:
        """Build the table from what was loaded."""
        elder_holds = self._codec.elder_holds
        for number in sorted(self._loaded, reverse=not elder_holds):
            part, values = self._loaded[number]
            pairs = zip(part.ids, values, strict=True)
            fresh = [(name, value) for name, value in pairs if name not in self._known]
            self._known.update(fresh)
            self._parts[number] = Part(part.arrival_ms, [name for name, _ in fresh])
            self._parts.move_to_end(number, last=elder_holds)
            yield
        self._loaded.clear()

    def _open(self, now_ms: int) -> Layer[ValueT]:
        """Return the layer to write to, what need not be held any more dropped."""
        assert self._layers, "a write belongs between begin and commit"
        layer = self._layers[-1]
        assert not layer.told, "the batch has told its changes"
        self._drop(layer, now_ms)
        return layer

    def _drop(self, layer: Layer[ValueT], now_ms: int) -> None:
        while self._parts:
            number = next(iter(self._parts))
            ended = self._parts[number].arrival_ms + self._within_ms <= now_ms
            if not ended and len(self._known) <= self._entries_max:
                return
            part = self._parts.pop(number)
            layer.dropped[number] = (part, [self._known.pop(name) for name in part.ids])

    def _key(self, number: int) -> bytes:
        return self.tag + _NUMBER.pack(number)

    def _encode(self, part: Part) -> bytes:
        return self._codec.encode(part, [self._known[name] for name in part.ids])
