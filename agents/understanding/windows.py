"""Exact trailing windows per key: count, and mean of an amount, over (t - w, t] of event time."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from batuta.agents.state import Change

__all__ = ["TrailingWindows"]


class TrailingWindows:
    """A StateTable of the entries of each key (kept in memory only)."""

    def __init__(self, tag: bytes, windows_ms: Sequence[int], *, with_mean: bool) -> None:
        self.tag = tag
        self._windows_ms = tuple(windows_ms)
        self._with_mean = with_mean
        self._times: dict[str, list[int]] = {}
        self._amounts: dict[str, list[float]] = {}

    def observe(
        self,
        keys: Sequence[str],
        times_ms: npt.NDArray[np.int64],
        amounts: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Take in events and return their features (rows, windows * (2 if with mean else 1))."""
        rows = [
            self._one(key, int(time), float(amount))
            for key, time, amount in zip(keys, times_ms, amounts, strict=True)
        ]
        width = len(self._windows_ms) * (2 if self._with_mean else 1)
        return np.array(rows, np.float64).reshape(len(rows), width)

    def _one(self, key: str, time_ms: int, amount: float) -> list[float]:
        times = self._times.setdefault(key, [])
        amounts = self._amounts.setdefault(key, [])
        at = bisect_right(times, time_ms)
        times.insert(at, time_ms)
        amounts.insert(at, amount)
        row: list[float] = []
        for width in self._windows_ms:
            first = bisect_right(times, time_ms - width, 0, at + 1)
            inside = amounts[first : at + 1]
            row.append(float(len(inside)))
            if self._with_mean:
                row.append(sum(inside) / len(inside))
        return row

    def begin(self) -> None:
        """Open a batch."""

    def changes(self, now_ms: int) -> list[Change]:
        """Return nothing."""
        del now_ms
        return []

    def commit(self) -> None:
        """Keep what the open batch changed."""

    def rollback(self) -> None:
        """Not kept apart."""

    def load(self, key: bytes, value: bytes | None) -> None:
        """Ignore the record."""

    def entries(self) -> int:
        """Return how many entries are held."""
        return sum(map(len, self._times.values()))
