"""Where keys belong, many at once: `batuta.schemas.partition.murmur2`, compiled.

For keys that come once, such as ids of events: nothing is gained from remembering those.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.understanding.compiled import compiled

__all__ = ["partitions_of"]

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_POSITIVE: Final = 0x7FFFFFFF


def partitions_of(keys: Sequence[bytes], partitions: int) -> npt.NDArray[np.int64]:
    """Return the partition of each key, 0 to `partitions` - 1.

    >>> partitions_of([b"c3774", b"c1"], 8).tolist()
    [0, 3]
    """
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    placed = np.empty(len(keys), np.int64)
    _place(np.frombuffer(b"".join(keys), np.uint8), ends, partitions, placed)
    return placed


@compiled
def _place(
    data: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    partitions: int,
    placed: npt.NDArray[np.int64],
) -> None:
    """Fill `placed` with the partition of each key, which end in `data` at `ends`."""
    begin = 0
    for number in range(len(ends)):
        end = int(ends[number])
        length = end - begin
        h = (_SEED ^ length) & _MASK
        whole = begin + length // 4 * 4
        for at in range(begin, whole, 4):
            k = int(data[at]) | int(data[at + 1]) << 8 | int(data[at + 2]) << 16
            k = ((k | int(data[at + 3]) << 24) * _M) & _MASK
            k = ((k ^ (k >> 24)) * _M) & _MASK
            h = ((h * _M) & _MASK) ^ k
        if end > whole:
            rest = 0
            for at in range(whole, end):
                rest |= int(data[at]) << (8 * (at - whole))
            h = ((h ^ rest) * _M) & _MASK
        h = ((h ^ (h >> 13)) * _M) & _MASK
        h ^= h >> 15
        placed[number] = (h & _POSITIVE) % partitions
        begin = end
