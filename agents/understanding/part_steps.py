"""Features of the user's own, isolated: what breaks harms its own events and no others.

Where a part raises over a batch, or answers another shape, the halves are asked again until the
events at fault are alone; their values are no numbers. One that remembers is asked event by event,
from what it remembered before. A part that does not come back in time is asked nothing further, and
its whole batch goes without.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from batuta.agents.identity import scoped
from batuta.agents.policy.event_rows import EventRows, feature_column
from batuta.agents.policy.names import Flags
from batuta.agents.understanding.features import (
    ContextFeatures,
    Features,
    KeyedFeatures,
    Memory,
)
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.steps import Surroundings
from batuta.schemas.errors import LaterError, OursError
from batuta.schemas.ingested import Ingested

__all__ = ["KeyedStep", "PartStep"]


@dataclass(frozen=True)
class PartStep:
    """A feature that needs nothing but the event."""

    part: ContextFeatures
    entry: str = "part"
    remembers: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """As the part says."""
        return tuple(self.part.names)

    def take(self, rows: EventRows, around: Surroundings) -> Flags | None:
        """Ask the part about the batch, then about what it broke at."""
        names = self.names
        work = _Stateless(self.part, rows.events, len(names))
        return _give(rows, names, _told(self.entry, work.run, around))


@dataclass(frozen=True)
class KeyedStep:
    """A feature that remembers each series; what it broke at leaves its memory as it was."""

    part: KeyedFeatures
    entry: str
    remembers: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """As the part says."""
        return tuple(self.part.names)

    def take(self, rows: EventRows, around: Surroundings) -> Flags | None:
        """Ask the part about one series after another; keep what it remembers of each."""
        names, memories = self.names, around.memories
        assert memories is not None, "a feature that remembers, and no state for it"
        series = self._series(rows.events)
        recalled = [memories.recall(self.entry, name, self.part.width) for name in series]
        work = _Keyed(self.part, rows.events, list(series.values()), recalled)
        told = _told(self.entry, work.run, around)
        if told is not None:
            self._keep(memories, list(series), work)
        return _give(rows, names, told)

    def _series(self, events: Sequence[Ingested]) -> dict[str, list[int]]:
        """Return the rows of each series, by its name, in the order they first come."""
        rows: defaultdict[str, list[int]] = defaultdict(list)
        per = tuple(self.part.per)
        for row, event in enumerate(events):
            parts = (str(event.data.get(name, "")) for name in per)
            rows["\x1f".join((scoped(event.tenant, event.scoring_key), *parts))].append(row)
        return rows

    def _keep(self, memories: MemoryTable, series: Sequence[str], work: "_Keyed") -> None:
        for name, memory in zip(series, work.memories, strict=True):
            memories.keep(self.entry, name, memory)


@dataclass
class _Found:
    """The values of a batch, NaN until they are told, and the first thing that went wrong."""

    values: Features
    failure: Exception | None = None

    def note(self, failure: Exception) -> None:
        self.failure = self.failure or failure


@dataclass(frozen=True)
class _Stateless:
    part: ContextFeatures
    events: Sequence[Ingested]
    width: int

    def run(self) -> _Found:
        found = _Found(np.full((len(self.events), self.width), np.nan))
        pending = [(0, len(self.events))]
        while pending:
            begin, end = pending.pop()
            failure = self._one(found, begin, end)
            if failure is not None:
                found.note(failure)
                middle = (begin + end) // 2
                pending += [(begin, middle), (middle, end)] if end - begin > 1 else []
        return found

    def _one(self, found: _Found, begin: int, end: int) -> Exception | None:
        events = self.events[begin:end]
        try:
            found.values[begin:end] = _fitting(self.part.compute(events), len(events), self.width)
        except (LaterError, OursError):
            raise
        except Exception as failure:  # noqa: BLE001 - a part is anybody's code
            return failure
        return None


@dataclass
class _Keyed:
    """One batch of a feature that remembers.

    Attributes:
        rows: of each series.
        memories: of each series; replaced by what is to be kept.
    """

    part: KeyedFeatures
    events: Sequence[Ingested]
    rows: list[list[int]]
    memories: list[Memory] = field(default_factory=list[Memory])

    def run(self) -> _Found:
        found = _Found(np.full((len(self.events), len(self.part.names)), np.nan))
        kept = list(self.memories)
        for number, rows in enumerate(self.rows):
            kept[number] = self._series(found, rows, kept[number])
        # At once, and last: work that was given up must not be half remembered.
        self.memories = kept
        return found

    def _series(self, found: _Found, rows: list[int], memory: Memory) -> Memory:
        """Take a series in whole, or event by event where that breaks; return its memory."""
        pieces = [rows]
        if len(rows) > 1 and (after := self._piece(found, rows, memory)) is not None:
            return after
        if len(rows) > 1:
            pieces = [[row] for row in rows]
        for piece in pieces:
            after = self._piece(found, piece, memory)
            memory = memory if after is None else after
        return memory

    def _piece(self, found: _Found, rows: list[int], memory: Memory) -> Memory | None:
        after = memory.copy()
        try:
            told = self.part.observe(after, [self.events[row] for row in rows])
            values = _fitting(told, len(rows), len(self.part.names))
            _refuse_nonsense(after)
        except (LaterError, OursError):
            raise
        except Exception as failure:  # noqa: BLE001 - a part is anybody's code
            found.note(failure)
            return None
        found.values[rows] = values
        return after


def _fitting(answer: object, rows: int, width: int) -> Features:
    values = np.asarray(answer, np.float64)
    if values.shape != (rows, width):
        raise ValueError(f"a feature answered the shape {values.shape}, not {(rows, width)}")
    return values


def _refuse_nonsense(memory: Memory) -> None:
    if not bool(np.isfinite(memory).all()):
        raise ValueError("a feature remembers what is no finite number")


def _told(entry: str, work: Callable[[], _Found], around: Surroundings) -> Features | None:
    """Return what a part told of a batch, None where it did not come back."""
    try:
        found = around.isolation.run(entry, work)
    except TimeoutError as failure:
        around.isolation.report(entry, failure)
        return None
    if found.failure is not None:
        around.isolation.report(entry, found.failure)
    return found.values


def _give(rows: EventRows, names: Sequence[str], told: Features | None) -> Flags | None:
    values = np.full((len(rows), len(names)), np.nan) if told is None else told
    for name, column in zip(names, values.T, strict=True):
        rows.give(name, feature_column(column, "double"))
    failed: Flags = np.logical_or.reduce(np.isnan(values), axis=1, initial=False)
    return failed if np.any(failed) else None
