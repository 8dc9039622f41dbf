"""Layers: which batches are open on a lane's state, oldest first."""

from collections import deque

from batuta.agents.state.port import Change, State

__all__ = ["Layers"]


class Layers:
    """A state, and the batches open on it.

    Attributes:
        state: what the lane holds.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._open: deque[object] = deque()

    def __len__(self) -> int:
        """Return how many batches are open."""
        return len(self._open)

    def begin(self, batch: object) -> None:
        """Open a batch on top of the others."""
        self.state.begin()
        self._open.append(batch)

    def changes(self, batch: object, now_ms: int) -> list[Change]:
        """Return what the newest batch changed."""
        assert self._open[-1] is batch, "only the newest batch writes"
        return self.state.changes(now_ms)

    def commit(self, batch: object) -> None:
        """Keep what the oldest batch changed."""
        assert self._open[0] is batch, "batches are committed in order"
        self.state.commit()
        self._open.popleft()

    def rollback(self, keep: object = None) -> None:
        """Forget what every open batch changed but `keep`, which must be the oldest."""
        while self._open and self._open[-1] is not keep:
            self.state.rollback()
            self._open.pop()
        assert len(self._open) <= 1, "what is kept must be the oldest"
