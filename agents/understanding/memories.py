"""The memories of features that remember: one array of numbers per feature and series.

A series is a key of the pipeline, or a part of what happens to it (an asset's sensor). All such
features of a stage share one table, so that reordering them in a pipeline file loses nothing. What
is remembered of a series ends when nothing came of it for a month.

    memories = MemoryTable(b"m")
    memories.begin()
    memory = memories.recall("pace", "pump-7/vibration", width=2)    # zeros, at first
    memory[0] += 1.0
    memories.keep("pace", "pump-7/vibration", memory)
    memories.changes(now_ms=0)
    memories.commit()
"""

from typing import Final

import numpy as np

from batuta.agents.state.codecs import TEXT, Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.understanding.features import Memory
from batuta.schemas.errors import StateCorruptError

__all__ = ["WIDTH_MAX", "MemoryTable"]

#: How many numbers a feature may remember of one series.
WIDTH_MAX: Final = 4_096
_DAY_MS: Final = 86_400_000
_LAYOUT: Final = 1
_HEAD_BYTES: Final = 3
_NUMBER_BYTES: Final = 8
#: Names of features are identifiers, so that this stands in none.
_BETWEEN: Final = "/"


class _MemoryEncoding:
    """A memory as the version of its layout, its width, and its numbers that are not zero.

    Much of a memory may be empty for a long time, so that this is often a fraction of the whole.
    """

    def encode(self, thing: Memory, /) -> bytes:
        """Return the bytes of a memory."""
        head = bytes([_LAYOUT]) + len(thing).to_bytes(2, "big")
        used = np.flatnonzero(thing)
        return head + np.packbits(thing != 0.0).tobytes() + thing[used].astype("<f8").tobytes()

    def decode(self, raw: bytes, /) -> Memory:
        """Return the memory.

        Raises:
            StateCorruptError: its layout is unknown, or it is damaged.
        """
        if raw[:1] != bytes([_LAYOUT]):
            raise StateCorruptError(
                f"a memory has layout {raw[:1].hex() or 'none'}, this release reads {_LAYOUT}"
            )
        width = int.from_bytes(raw[1:_HEAD_BYTES], "big")
        end = _HEAD_BYTES + (width + 7) // 8
        places = np.unpackbits(np.frombuffer(raw[_HEAD_BYTES:end], np.uint8))
        held = places[:width].astype(np.bool_)
        if len(held) != width or len(raw) != end + _NUMBER_BYTES * int(held.sum()):
            raise StateCorruptError(f"a memory of {len(raw)} bytes is damaged")
        memory = np.zeros(width)
        memory[held] = np.frombuffer(raw[end:], "<f8")
        return memory


class MemoryTable(KeyedTable[str, Memory]):
    """A StateTable of one memory per feature and series."""

    def __init__(
        self, tag: bytes, *, entries_max: int = 1_000_000, ttl_ms: int = 30 * _DAY_MS
    ) -> None:
        """Open an empty table.

        Args:
            tag: the first byte of its changelog keys.
            entries_max: the bound on memories held.
            ttl_ms: how long one is kept after it was last written, by the clock.
        """
        codec = Codec(TEXT, _MemoryEncoding())
        super().__init__(tag, codec, "memories", entries_max=entries_max, ttl_ms=ttl_ms)

    def recall(self, feature: str, series: str, width: int) -> Memory:
        """Return what a feature remembers of a series, to be changed freely: at first zeros.

        A memory of another width was kept by an earlier version of the feature: it begins anew.

        Raises:
            StateCorruptError: what was loaded cannot be decoded.
        """
        memory = self.get(f"{feature}{_BETWEEN}{series}")
        return np.zeros(width) if memory is None or len(memory) != width else memory

    def keep(self, feature: str, series: str, memory: Memory) -> None:
        """Let a feature remember this of a series.

        Raises:
            StateFullError: the series is new, and the table is at its bound.
        """
        self.put(f"{feature}{_BETWEEN}{series}", memory)
