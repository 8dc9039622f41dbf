"""Which partition a key belongs to: Java's murmur2, as the Kafka clients for the JVM place it.

Producers' partitioners differ (librdkafka's default is CRC32), so nothing that users produce is
trusted to lie where its key belongs: ingestion compares, and forwards what lies elsewhere.
"""

from collections.abc import Sequence
from typing import cast

__all__ = ["PartitionOf", "murmur2"]

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_CACHE_ENTRIES_MAX = 1_000_000


def murmur2(data: bytes) -> int:
    """Return the 32-bit unsigned murmur2 hash of `data`, seeded as Kafka seeds it.

    Source: Austin Appleby's MurmurHash2, as in `org.apache.kafka.common.utils.Utils.murmur2`.
    """
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


class PartitionOf:
    """Remembers the partition of each key, for one partition count: hashing costs 3 us in Python.

    The memory is bounded; at the bound it starts again.
    """

    def __init__(self, partitions: int) -> None:
        assert partitions > 0, partitions
        self.partitions = partitions
        self._known: dict[bytes | None, int] = {}

    def __call__(self, key: bytes) -> int:
        """Return the partition of `key`, 0 to `partitions` - 1."""
        known = self._known.get(key)
        if known is not None:
            return known
        if len(self._known) >= _CACHE_ENTRIES_MAX:
            self._known.clear()
        partition = self._known[key] = (murmur2(key) & 0x7FFFFFFF) % self.partitions
        return partition

    def of_all(self, keys: Sequence[bytes | None]) -> list[int]:
        """Return the partition of each key, 0 where there is none."""
        found = list(map(self._known.get, keys))
        if None in found:
            return [0 if key is None else self(key) for key in keys]
        return cast("list[int]", found)
