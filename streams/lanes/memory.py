"""What one lane remembers: its stage's state, and the tables the runtime keeps beside it.

Written in two turns. In the first a batch understands: the stage's state, timers and watermarks; in
the second it writes what its answers mean: parked steps. Each turn has layers of its own, so that
the second turn of one batch and the first of the next never meet.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from batuta.agents.state.port import Change, State, Tables
from batuta.agents.state.timers import Firing, Timers
from batuta.streams.lanes.layers import Layers
from batuta.streams.lanes.stage import AnyStage

__all__ = ["LaneMemory"]

#: Tags of the runtime's tables; a stage's own tables take those from 0x20 on.
_TIMERS: Final = b"\x02"
_STAGE_TAGS_FROM: Final = 0x20
_TIMERS_MAX: Final = 1_000_000
#: So many timers fire in one batch at most.
_FIRINGS_MAX: Final = 2_000
_NEVER_MS: Final = -(2**63)


class LaneMemory:
    """The state of one lane, and the batches open on it.

    Attributes:
        state: the stage's.
        timers: what its agent asked to be called for.
    """

    def __init__(self, stage: AnyStage) -> None:
        self.state = stage.open_state()
        self.timers = Timers(_TIMERS, entries_max=_TIMERS_MAX)
        kept = stage.changelog is not None
        self._runtime = Tables((self.timers,) if kept else ())
        self._layers = (Layers(self.state), Layers(self._runtime))

    # Batches

    def begin(self, batch: object) -> None:
        """Open a batch on top of the others."""
        for layers in self._layers:
            layers.begin(batch)

    def changes(self, batch: object, now_ms: int) -> list[Change]:
        """Return what the newest batch changed."""
        return [change for layers in self._layers for change in layers.changes(batch, now_ms)]

    def commit(self, batch: object) -> None:
        """Keep what the oldest batch changed."""
        for layers in self._layers:
            layers.commit(batch)

    def rollback(self, keep: object = None) -> None:
        """Forget what every open batch changed but `keep`, which must be the oldest."""
        for layers in self._layers:
            layers.rollback(keep)

    # Timers

    def is_due(self, now_ms: int) -> bool:
        """Whether a timer waits to be fired."""
        due_ms = self.timers.next_due("processing")
        return due_ms is not None and due_ms <= now_ms

    def next_due_ms(self) -> int | None:
        """Return when the clock fires the next timer."""
        return self.timers.next_due("processing")

    def fire(self, now_ms: int) -> list[Firing]:
        """Take out what is due, within the batch that was begun last."""
        return self.timers.due(now_ms, _NEVER_MS, _FIRINGS_MAX)

    # A State, as far as restoring and snapshots go

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one changelog record.

        Raises:
            StateCorruptError: the record is of a version or shape this code does not know.
        """
        self._owner(key).load(key, value)

    def dump(self) -> Iterable[Change]:
        """Give everything held, as changelog records, while no batch is open."""
        return chain.from_iterable(layers.state.dump() for layers in self._layers)

    def entries(self) -> int:
        """Return how many entries are held."""
        return sum(layers.state.entries() for layers in self._layers)

    def _owner(self, key: bytes) -> State:
        return self._runtime if key[:1] < bytes([_STAGE_TAGS_FROM]) else self.state
