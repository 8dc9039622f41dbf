"""Event time: how far a lane has come by the times in its events, and how far those above it have.

`EventClock`: the watermark of a lane that reads events is the greatest event time seen, less the
lateness allowed. An event is late when its time lies before the watermark of the events before it:
event by event, so how events are cut into batches changes nothing.

`Watermarks`: a lane below others takes the minimum of what they tell. An idle one is left out; are
all idle, the greatest they have told counts. One that was never heard holds the minimum at
`BEFORE_ALL_MS`, until the lane has waited for it for the time given; one that was heard is waited
for without end, for its successor goes on where it stopped.

Both only ever rise, over restart and changed settings too. The scheme is that of T. Akidau et al.,
"The Dataflow Model", VLDB 2015, and "MillWheel", VLDB 2013 (low watermarks).

Changelog of the clock: key `tag`; value version (1 byte), greatest event time (8, signed, big
endian), watermark (8). Of the watermarks: key `tag` + name of the lane above, in UTF-8, or nothing
for the minimum; value, after the keyed table's version: watermark (8), idle (1 byte).

    clock = EventClock(b"c", lateness_ms=10)
    clock.begin()
    clock.observe(np.array([100, 95, 200, 150]))    # [False, False, False, True]
    clock.watermark_ms                              # 190
"""

import struct
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Change
from batuta.schemas.errors import StateCorruptError

__all__ = ["AFTER_ALL_MS", "BEFORE_ALL_MS", "EventClock", "Heard", "Watermarks"]

#: The watermark of a lane that has seen nothing.
BEFORE_ALL_MS: Final = -(1 << 62)
#: The watermark of a lane that will see nothing more.
AFTER_ALL_MS: Final = 1 << 62

_VERSION: Final = 1
_CLOCK: Final = struct.Struct(">Bqq")
#: Under this name stands the minimum itself.
_MINIMUM: Final = ""

_Times = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


class _Reached(NamedTuple):
    """The greatest event time seen, and a watermark below which none may fall again."""

    latest_ms: int = BEFORE_ALL_MS
    floor_ms: int = BEFORE_ALL_MS


class EventClock:
    """A StateTable of the one event time that a lane has reached."""

    def __init__(self, tag: bytes, lateness_ms: int) -> None:
        """Start before all time; events up to `lateness_ms` behind the latest are not late."""
        assert len(tag) == 1, tag
        assert lateness_ms >= 0, lateness_ms
        self.tag = tag
        self._lateness_ms = lateness_ms
        self._reached = _Reached()
        self._before: deque[_Reached] = deque()
        self._writable = False

    @property
    def watermark_ms(self) -> int:
        """No event before this time is expected any more."""
        latest_ms, floor_ms = self._reached
        return max(floor_ms, latest_ms - self._lateness_ms, BEFORE_ALL_MS)

    def observe(self, times_ms: _Times) -> _Mask:
        """Take in the times of events, in their order; say of each whether it is late."""
        assert self._writable, "writes belong between begin and changes"
        latest_ms, floor_ms = self._reached
        latest = np.maximum.accumulate(np.concatenate(([latest_ms], times_ms)))
        late: _Mask = times_ms < np.maximum(latest[:-1] - self._lateness_ms, floor_ms)
        self._reached = _Reached(int(latest[-1]), floor_ms)
        return late

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._writable, "the last batch has not told its changes"
        self._before.append(self._reached)
        self._writable = True

    def changes(self, now_ms: int) -> list[Change]:
        """Return the time reached, if the batch moved it."""
        del now_ms
        assert self._writable, "changes are told once, after begin"
        self._writable = False
        return [] if self._reached == self._before[-1] else list(self._records())

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        assert len(self._before) > self._writable, (
            "a batch tells its changes before it is committed"
        )
        self._before.popleft()

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        self._reached = self._before.pop()
        self._writable = False

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        assert not self._before, "load comes before the first batch"
        if key != self.tag or (value is not None and value[:1] != bytes([_VERSION])):
            raise StateCorruptError(f"{key[:32]!r} is no event time this release can read")
        try:
            self._reached = _Reached() if value is None else _Reached(*_CLOCK.unpack(value)[1:])
        except struct.error as error:
            raise StateCorruptError(f"an event time has {len(value or b'')} bytes") from error

    def dump(self) -> Iterable[Change]:
        """Return the time reached, as changelog records; only while no batch is open."""
        assert not self._before, "a dump is taken between batches"
        return list(self._records())

    def entries(self) -> int:
        """Return 1 once an event was seen."""
        return int(self._reached != _Reached())

    def _records(self) -> Iterable[Change]:
        if self._reached != _Reached():
            value = _CLOCK.pack(_VERSION, self._reached.latest_ms, self.watermark_ms)
            yield self.tag, value


class Heard(NamedTuple):
    """What a lane above told last: its watermark, and whether it has nothing to read."""

    watermark_ms: int
    idle: bool


class Watermarks:
    """A StateTable of what the lanes above one lane have told."""

    def __init__(self, tag: bytes, *, upstreams_max: int = 10_000) -> None:
        """Start with nothing heard, of at most `upstreams_max` lanes."""
        self.tag = tag
        codec = Codec(TEXT, Packed(">q?", Heard))
        self._heard = KeyedTable(tag, codec, "watermarks", entries_max=upstreams_max + 1)
        self._waiting_since_ms: int | None = None

    @property
    def watermark_ms(self) -> int:
        """The minimum, as it was when `advance` was last called."""
        minimum = self._heard.get(_MINIMUM)
        return BEFORE_ALL_MS if minimum is None else minimum.watermark_ms

    def get(self, upstream: str) -> Heard | None:
        """Return what the lane `upstream` told last, or None."""
        assert upstream != _MINIMUM, "a lane has a name"
        return self._heard.get(upstream)

    def hear(self, upstream: str, watermark_ms: int, *, idle: bool = False) -> None:
        """Take in what the lane `upstream` tells; its own watermark never falls either.

        Raises:
            StateFullError: more lanes are heard than the table takes.
        """
        before = self.get(upstream)
        if before is not None:
            watermark_ms = max(watermark_ms, before.watermark_ms)
        told = Heard(watermark_ms, idle)
        if told != before:
            self._heard.put(upstream, told)

    def advance(self, now_ms: int, upstreams: int, idle_after_ms: int) -> int:
        """Move the minimum to where it may stand now, and return it.

        Args:
            now_ms: the clock.
            upstreams: how many lanes there are above this one.
            idle_after_ms: how long those never heard are waited for, from the first call after
                the table was made.
        """
        reached_ms = self._minimum(self._waited(now_ms) < idle_after_ms, upstreams)
        if reached_ms > self.watermark_ms:
            self._heard.put(_MINIMUM, Heard(reached_ms, idle=False))
        return self.watermark_ms

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        self._heard.begin()

    def changes(self, now_ms: int) -> list[Change]:
        """Return what the newest open batch changed, by changelog key."""
        return self._heard.changes(now_ms)

    def commit(self) -> None:
        """Keep what the oldest open batch changed."""
        self._heard.commit()

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        self._heard.rollback()

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        self._heard.load(key, value)
        self._heard.get(TEXT.decode(key[1:]))

    def dump(self) -> Iterable[Change]:
        """Return everything held, as changelog records; only while no batch is open."""
        return self._heard.dump()

    def entries(self) -> int:
        """Return how many lanes were heard, and one more once there is a minimum."""
        return self._heard.entries()

    def _waited(self, now_ms: int) -> int:
        """Return for how long lanes have been waited for; a clock that jumps back starts anew."""
        since_ms = self._waiting_since_ms
        self._waiting_since_ms = now_ms if since_ms is None else min(since_ms, now_ms)
        return now_ms - self._waiting_since_ms

    def _minimum(self, waits: bool, upstreams: int) -> int:  # noqa: FBT001
        heard = [told for name, told in self._heard.items() if name != _MINIMUM]
        if not heard or (waits and len(heard) < upstreams):
            return BEFORE_ALL_MS
        awake = [told.watermark_ms for told in heard if not told.idle]
        return min(awake) if awake else max(told.watermark_ms for told in heard)
