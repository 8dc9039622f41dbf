"""The memory of every series of one lane: a keyed table that tells how surprising readings are.

One setting serves all series. A series is an asset's sensor; what it remembers has a bounded size
(under three kilobytes), however long it runs, and ends when nothing was read for a month.

    detector = SurpriseTable(b"n")
    detector.begin()
    detector.observe(["pump-7/vibration"], np.array([73.97]))  # [0.0], until it has warmed up
    detector.changes(now_ms=0)
    detector.commit()
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.maintenance.novelty import WIDTH, Memory, empty_memory, surprises
from batuta.agents.state.codecs import TEXT, Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.schemas.errors import StateCorruptError

__all__ = ["SurpriseTable"]

_DAY_MS: Final = 86_400_000
_LAYOUT: Final = 1
_NUMBER_BYTES: Final = 8


class _MemoryEncoding:
    """A memory as the version of its layout and its numbers that are not zero, with their places.

    Much of a memory is empty for a long time, so this is about half of what all numbers take.
    """

    def encode(self, thing: Memory, /) -> bytes:
        """Return the bytes of a memory."""
        used = np.flatnonzero(thing)
        held = np.packbits(thing != 0.0)
        return bytes([_LAYOUT]) + held.tobytes() + thing[used].astype("<f8").tobytes()

    def decode(self, raw: bytes, /) -> Memory:
        """Return the memory.

        Raises:
            StateCorruptError: its layout is unknown, or it is damaged.
        """
        if raw[:1] != bytes([_LAYOUT]):
            raise StateCorruptError(
                f"a series has layout {raw[:1].hex() or 'none'}, this release reads {_LAYOUT}"
            )
        end = 1 + (WIDTH + 7) // 8
        held = np.unpackbits(np.frombuffer(raw[1:end], np.uint8))[:WIDTH].astype(np.bool_)
        if len(held) != WIDTH or len(raw) != end + _NUMBER_BYTES * int(held.sum()):
            raise StateCorruptError(f"a series of {len(raw)} bytes is damaged")
        memory = np.zeros(WIDTH)
        memory[held] = np.frombuffer(raw[end:], "<f8")
        return memory


class SurpriseTable(KeyedTable[str, Memory]):
    """A StateTable of one memory per series."""

    def __init__(
        self, tag: bytes, *, entries_max: int = 1_000_000, ttl_ms: int = 30 * _DAY_MS
    ) -> None:
        """Open an empty table.

        Args:
            tag: the first byte of its changelog keys.
            entries_max: the bound on series held.
            ttl_ms: how long a series is remembered after its last reading, by the clock.
        """
        codec = Codec(TEXT, _MemoryEncoding())
        super().__init__(tag, codec, "series", entries_max=entries_max, ttl_ms=ttl_ms)

    def observe(
        self, series: Sequence[str], values: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Take readings in, in order, and return how surprising each is: 0 is not at all.

        Args:
            series: whose readings.
            values: what was measured, finite.

        Raises:
            StateFullError: a series is new, and the table is at its bound.
            StateCorruptError: what was loaded of a series cannot be decoded.
        """
        assert len(series) == len(values), "one value per reading"
        assert bool(np.isfinite(values).all()), "a reading is a finite number"
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(series):
            rows[name].append(row)
        told = np.zeros(len(values))
        for name, own in rows.items():
            before = self.get(name)
            memory = empty_memory() if before is None else before
            told[own] = surprises(memory, np.asarray(values, np.float64)[own])
            self.put(name, memory)
        return told
