"""Exact trailing shares with a delay: of a key's events, how many are marked, per window.

A window of width w seen from time t is (t - delay - w, t - delay] of event time. Its count is of
all events of the key, its share of those that a label marks, 0 where it is empty: an event of which
nothing was heard counts as not marked. The delay is the labels' usual age, so that the share of the
last days is not made small by labels that are still on their way.

Events and labels are taken in one order, that of their arrival: what an event sees does not depend
on how they are cut into batches. How far back: as `TrailingWindows`, behind the longest window and
the delay. A label of an event beyond that has expired: it is told, and not kept.

    shares = DelayedShares(b"r", ShareRule((86_400_000,), delay_ms=604_800_000))
    shares.begin()
    shares.take(["t1", "t1"], np.array([0, 0]), np.array([EVENT, MARKED]))
    shares.take(["t1"], np.array([604_800_000]), np.array([EVENT])).features  # [[1.0, 1.0]]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.compiled import compiled
from batuta.agents.understanding.features import window_names
from batuta.agents.understanding.rings import (
    ENTRIES,
    HIGH,
    LOW,
    NONE,
    Events,
    Integers,
    Rings,
    Rule,
    first_after,
    insert,
    touch,
)
from batuta.agents.understanding.windows import ENTRIES_MAX, TrailingWindows
from batuta.schemas.pipeline import WindowFeature
from batuta.schemas.pipeline_rules import ShareFeature

__all__ = [
    "EVENT",
    "MARKED",
    "UNMARKED",
    "DelayedShares",
    "ShareRule",
    "Taken",
    "share_names",
]

#: What is taken in: an event, a label that marks one, a label that takes an earlier mark back.
EVENT: Final = 0
MARKED: Final = 1
UNMARKED: Final = -1
#: An entry's amount holds events above this bit and marks below it, so one sum counts both.
_EVENT_BIT: Final = 32
_HALF: Final = 1 << (_EVENT_BIT - 1)


@dataclass(frozen=True, slots=True)
class ShareRule:
    """Which windows, how far behind the present, and how late an event may be and still be exact.

    Attributes:
        lateness_ms: by default a quarter of the longest window.
    """

    windows_ms: tuple[int, ...]
    delay_ms: int
    lateness_ms: int | None = None
    entries_max: int = ENTRIES_MAX

    @classmethod
    def of(cls, share: ShareFeature) -> "ShareRule":
        """Return the rule of a pipeline's share."""
        return cls(share.windows_ms, share.delay_ms)

    def kept_late_ms(self) -> int:
        """Return how far behind the longest window entries are kept."""
        late = max(self.windows_ms) // 4 if self.lateness_ms is None else self.lateness_ms
        return self.delay_ms + late


class Taken(NamedTuple):
    """What became of events and labels.

    Attributes:
        features: (items, 2 * windows) of count and share by turns; zeros for labels.
        expired: which items were too old to be kept.
    """

    features: npt.NDArray[np.float64]
    expired: npt.NDArray[np.bool_]


class DelayedShares(TrailingWindows):
    """A StateTable of the events and marks of each key of one lane."""

    def __init__(self, tag: bytes, rule: ShareRule) -> None:
        """Open an empty table.

        Args:
            tag: the first byte of its changelog keys.
            rule: its windows.
        """
        assert rule.delay_ms >= 0, rule
        super().__init__(
            tag,
            rule.windows_ms,
            with_mean=True,
            lateness_ms=rule.kept_late_ms(),
            entries_max=rule.entries_max,
        )
        self._delay_ms = rule.delay_ms

    def take(
        self,
        keys: Sequence[str],
        times_ms: npt.NDArray[np.int64],
        kinds: npt.NDArray[np.int64],
    ) -> Taken:
        """Take events and labels in, in order, and return what the events' windows hold.

        Args:
            keys: whose windows.
            times_ms: when the event was, of a label too; milliseconds since 1970 UTC.
            kinds: `EVENT`, `MARKED` or `UNMARKED`.

        Raises:
            OursError: the table is full.
        """
        self._check_open()
        assert len(keys) == len(times_ms) == len(kinds), "one time and kind per key"
        features = np.zeros((len(keys), 2 * len(self._rule.windows_ms)), np.float64)
        expired = np.zeros(len(keys), np.bool_)
        slots, times = self._store.slots_of(keys), np.ascontiguousarray(times_ms, np.int64)
        kinds = np.ascontiguousarray(kinds, np.int64)
        self._store.room_to_touch(self._layers[0].begun, len(keys))
        done = 0
        while done < len(keys):
            rest = Events(slots[done:], times[done:], kinds[done:], features[done:])
            done += _take(self._store.rings, rest, self._rule, self._delay_ms, expired[done:])
            if done < len(keys):
                self._make_way()
        return Taken(features, expired)

    def _check_open(self) -> None:
        assert self._layers, "take belongs between begin and commit"
        assert not self._layers[-1].told, "the batch has told its changes"


@compiled
def _take(
    rings: Rings, items: Events, rule: Rule, delay_ms: int, expired: npt.NDArray[np.bool_]
) -> int:
    """Take items in, one after the other, and fill in what the events among them see.

    Returns:
        How many were taken in: all, or fewer where the arrays must grow or the bound is reached.
    """
    for i in range(len(items.slots)):
        slot, time, kind = int(items.slots[i]), int(items.times[i]), int(items.amounts[i])
        high = int(rings.heads[slot, HIGH])
        newest = time
        if high > rings.heads[slot, LOW]:
            newest = max(time, int(rings.times[high - 1]))
        oldest = newest - rule.retained_ms
        expired[i] = time <= oldest
        if not expired[i]:
            if rings.counts[ENTRIES] >= rule.entries_max:
                return i
            touch(rings, slot)
            amount = 1 << _EVENT_BIT if kind == EVENT else kind
            if insert(rings, slot, time, amount) == NONE:
                return i
        if kind == EVENT:
            _measure(rings, slot, (oldest, time - delay_ms), rule.windows_ms, items.features[i])
    return len(items.slots)


@compiled
def _measure(
    rings: Rings,
    slot: int,
    reach: tuple[int, int],
    windows_ms: Integers,
    row: npt.NDArray[np.float64],
) -> None:
    """Fill `row` from the entries after `reach[0]`, in windows that end with `reach[1]`."""
    low, high = int(rings.heads[slot, LOW]), int(rings.heads[slot, HIGH])
    low = first_after(rings, low, high, reach[0])
    end = first_after(rings, low, high, reach[1])
    for column in range(len(windows_ms)):
        begin = first_after(rings, low, end, reach[1] - windows_ms[column])
        total = int(rings.totals[end] - rings.totals[begin]) if end > begin else 0
        count = (total + _HALF) >> _EVENT_BIT
        marks = total - (count << _EVENT_BIT)
        row[2 * column] = count
        row[2 * column + 1] = min(max(marks / count, 0.0), 1.0) if count > 0 else 0.0


def share_names(share: ShareFeature) -> tuple[str, ...]:
    """Return the names of the columns that `DelayedShares.take` gives, in its order.

    >>> share_names(ShareFeature(name="risk", by="till", of="fraud", windows_ms=(86_400_000,)))
    ('risk_delayed_count_1d', 'risk_share_fraud_1d')
    """
    head = f"{share.name}_count_"
    counted = WindowFeature(name=share.name, by=share.by, windows_ms=share.windows_ms)
    widths = [name.removeprefix(head) for name in window_names(counted)]
    kinds = (f"{share.name}_delayed_count", f"{share.name}_share_{share.of}")
    return tuple(f"{kind}_{width}" for width in widths for kind in kinds)
