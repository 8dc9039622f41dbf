"""Exact trailing windows: count, and mean of an amount, over (t - w, t] of event time, per key.

The present event is included. Of equal times the earlier arrival is seen by the later one. A late
event counts what lies in its own window, and from then on every other event counts it. Amounts are
kept as whole ten-thousandths, so a mean depends neither on the order of arrival nor on a restart.

How far back: an entry is kept while it is less than the longest window plus `lateness_ms` older
than its key's newest. An event later than that is answered as if it were alone, and not kept. A
key that no event has named for that long by the arrival clock is forgotten whole.

    windows = TrailingWindows(b"w", (86_400_000,), with_mean=True)
    windows.begin()
    windows.observe(["c1", "c1"], np.array([0, 1000]), np.array([10.0, 20.0]))  # [[1, 10], [2, 15]]
    windows.changes(now_ms=1000)
    windows.commit()
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.state.port import Change
from batuta.agents.understanding import chunks
from batuta.agents.understanding.arrays import RingStore
from batuta.agents.understanding.rings import (
    AMOUNT_UNITS,
    ENTRIES,
    OPENED,
    TOUCHED,
    Events,
    Integers,
    Rule,
    observe,
    prune,
)
from batuta.schemas.errors import OursError, StateCorruptError

__all__ = ["AMOUNT_MAX", "ENTRIES_MAX", "TrailingWindows"]

#: Beyond this an amount is refused: a million such amounts still sum exactly.
AMOUNT_MAX: Final = 9e8
#: How many entries one table holds at most: about 24 bytes each, twice that while it grows.
ENTRIES_MAX: Final = 50_000_000
#: Idle keys are looked for this many times within the span for which they are kept.
_SWEEPS: Final = 64


@dataclass(slots=True)
class _Layer:
    """One open batch: its first touch, when idle keys had been looked for, new and idle keys."""

    begun: int
    swept: int
    new_slots: list[int]
    idle: list[int] = field(default_factory=list)
    told: bool = False


class TrailingWindows:
    """A StateTable of the entries of each key of one lane."""

    def __init__(
        self,
        tag: bytes,
        windows_ms: Sequence[int],
        *,
        with_mean: bool,
        lateness_ms: int | None = None,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        """Open an empty table.

        Args:
            tag: the first byte of its changelog keys.
            windows_ms: widths, one feature (two with means) each.
            with_mean: whether amounts are kept and averaged.
            lateness_ms: how late an event may be and still be exact; by default a quarter of the
                longest window.
            entries_max: the bound on entries held.
        """
        assert len(tag) == 1, tag
        assert all(width > 0 for width in windows_ms), windows_ms
        longest_ms = max(windows_ms)
        self.tag = tag
        self._with_mean = with_mean
        self._retained_ms = longest_ms + (longest_ms // 4 if lateness_ms is None else lateness_ms)
        self._rule = Rule(np.array(windows_ms, np.int64), self._retained_ms, entries_max)
        self._store = RingStore(with_mean=with_mean)
        self._loaded: dict[bytes, bytes] = {}
        self._loaded_entries = 0
        self._layers: deque[_Layer] = deque()
        self._swept = -(2**63)

    def observe(
        self,
        keys: Sequence[str],
        times_ms: npt.NDArray[np.int64],
        amounts: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Take events in, in order, and return what their windows hold.

        Args:
            keys: whose windows.
            times_ms: event times, milliseconds since 1970 UTC.
            amounts: what is averaged; ignored without means.

        Returns:
            (len(keys), windows) counts, or (len(keys), 2 * windows) of count and mean by turns.

        Raises:
            OursError: the table is full, or an amount is beyond `AMOUNT_MAX`.
        """
        assert self._layers, "observe belongs between begin and commit"
        assert not self._layers[-1].told, "the batch has told its changes"
        assert len(keys) == len(times_ms) == len(amounts), "one time and amount per key"
        columns = len(self._rule.windows_ms) * (2 if self._with_mean else 1)
        features = np.empty((len(keys), columns), np.float64)
        slots, units = self._store.slots_of(keys), self._units(amounts)
        times = np.ascontiguousarray(times_ms, np.int64)
        self._store.room_to_touch(self._layers[0].begun, len(keys))
        done = 0
        while done < len(keys):
            rest = Events(slots[done:], times[done:], units[done:], features[done:])
            done += observe(self._store.rings, rest, self._rule)
            if done < len(keys):
                self._make_way()
        return features

    def begin(self) -> None:
        """Open a batch on top of those that are open."""
        assert not self._layers or self._layers[-1].told, "the last batch told no changes"
        deque(self.settle(), maxlen=0)
        begun = self._store.open_batch()
        self._layers.append(_Layer(begun, self._swept, self._store.new_slots))

    def changes(self, now_ms: int) -> list[Change]:
        """Return the chunks this batch appended to, and tombstones of those no window reaches."""
        layer = self._layers[-1]
        assert not layer.told, "changes are told once"
        layer.told = True
        rows = self._store.tell(now_ms)
        changed = self._store.changes(self.tag, rows, self._retained_ms)
        return changed + self._sweep(layer, now_ms)

    def commit(self) -> None:
        """Keep what the oldest open batch changed, and forget what no window reaches."""
        layer = self._layers.popleft()
        assert layer.told, "a batch is kept once it has told its changes"
        touched = int(self._store.rings.counts[TOUCHED])
        ended = self._layers[0].begun if self._layers else touched
        self._store.keep(layer.begun, ended, self._retained_ms)
        self._store.drop(layer.idle)

    def rollback(self) -> None:
        """Forget what the newest open batch changed."""
        layer = self._layers.pop()
        oldest = self._layers[0].begun if self._layers else layer.begun
        self._store.undo(oldest, self._retained_ms, told=layer.told)
        self._store.hide(layer.new_slots)
        self._store.drop(layer.new_slots)
        self._store.show(layer.idle)
        self._swept = layer.swept
        self._store.rings.counts[OPENED] = self._layers[-1].begun if self._layers else layer.begun

    def dump(self) -> Iterator[Change]:
        """Give every chunk held, as changelog records."""
        assert not self._layers, "a batch is open"
        deque(self.settle(), maxlen=0)
        return self._store.dump(self.tag, self._retained_ms)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record, in any order in which a compacted topic may give them.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        assert not self._store.slots, "load comes before the first batch"
        if len(key) < 1 + chunks.CHUNK_KEY.size or key[:1] != self.tag:
            raise StateCorruptError(f"changelog key {key[:32]!r} names no window chunk")
        if value is not None:
            chunks.check_chunk(value, with_mean=self._with_mean)
        before = self._loaded.pop(key, None)
        self._loaded_entries -= before[chunks.COUNT_BYTE] if before else 0
        if value is not None:
            self._loaded[key] = value
            self._loaded_entries += value[chunks.COUNT_BYTE]

    def settle(self) -> Iterator[None]:
        """Build the arrays from what was loaded, a part at each step.

        Raises:
            StateCorruptError: a name is not UTF-8, or a chunk between two others is missing.
        """
        if not self._loaded:
            return
        yield from self._store.rebuild(self._loaded)
        prune(self._store.rings, self._store.all_slots(), self._retained_ms)
        self._loaded.clear()
        self._loaded_entries = 0

    def entries(self) -> int:
        """Return how many entries are held."""
        return int(self._store.rings.counts[ENTRIES]) + self._loaded_entries

    def _units(self, amounts: npt.NDArray[np.float64]) -> Integers:
        if not self._with_mean:
            return np.zeros(len(amounts), np.int64)
        if not bool(np.all(np.abs(amounts) <= AMOUNT_MAX)):
            raise OursError(f"an amount to average is not a number up to {AMOUNT_MAX:.0f}")
        return np.rint(amounts * AMOUNT_UNITS).astype(np.int64)

    def _make_way(self) -> None:
        if self._store.rings.counts[ENTRIES] >= self._rule.entries_max:
            raise OursError(
                f"the windows hold {self._rule.entries_max} entries, their bound: narrow the "
                "windows, add partitions, or raise the bound"
            )
        self._store.grow()

    def _sweep(self, layer: _Layer, now_ms: int) -> list[Change]:
        """Find the keys that were idle for too long, once per period of the clock."""
        step_ms = max(self._retained_ms // _SWEEPS, 1)
        sweeping = now_ms // step_ms
        if sweeping == self._swept:
            return []
        self._swept = sweeping
        layer.idle = self._store.idle_since((sweeping - _SWEEPS) * step_ms)
        self._store.hide(layer.idle)
        return self._store.tombstones(self.tag, layer.idle)
