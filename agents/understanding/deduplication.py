"""Duplicates: an id seen before within a stated horizon, with the same payload or another one.

An id is remembered from its first arrival for `within_ms` by the arrival clock, or until more than
`entries_max` ids are remembered and it is among the oldest: the smaller horizon holds. Ids are kept
whole, so no two ids are ever taken for one. The payload is told by a digest of eight bytes.

What one batch adds is one delta, a part as `agents/state/parts.py` says; its value is its version
(1 byte), arrival (8), count (4), digests (8 each), then the ids as a JSON array.

    known = Deduplication(b"d", within_ms=60_000, entries_max=1_000)
    known.begin()
    known.classify(["a", "a"], [b"payload1", b"payload1"], now_ms=0)    # ["new", "duplicate"]
    known.changes(now_ms=0)
    known.commit()
"""

import struct
from collections.abc import Sequence
from typing import Final, Literal

import orjson

from batuta.agents.state.parts import Part, PartTable
from batuta.schemas.errors import StateCorruptError

__all__ = ["DELTA_BYTES_MAX", "DIGEST_BYTES", "Deduplication", "Verdict"]

Verdict = Literal["new", "duplicate", "conflict"]

DIGEST_BYTES: Final = 8
#: A delta's ids and digests take at most about this much, well below the changelog's bound.
DELTA_BYTES_MAX: Final = 512 * 1024
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BqI")
#: What a character of an id takes at most in JSON, and what stands beside each id.
_CHARACTER_BYTES_MAX: Final = 6
_BESIDE_ID_BYTES: Final = 3 + DIGEST_BYTES


class Deduplication(PartTable[bytes]):
    """A StateTable of the ids of one lane."""

    def __init__(self, tag: bytes, within_ms: int, entries_max: int) -> None:
        super().__init__(tag, _Deltas(), within_ms, entries_max)

    def classify(self, ids: Sequence[str], digests: Sequence[bytes], now_ms: int) -> list[Verdict]:
        """Say of each id whether it is new; remember those that are.

        Args:
            ids: in arrival order; later ones see earlier ones of the same call.
            digests: `DIGEST_BYTES` of payload digest per id.
            now_ms: the batch's clock.

        Returns:
            `duplicate` where the id is known with this digest, `conflict` where with another one.
        """
        known, added = self._known, self._open(now_ms).added
        verdicts: list[Verdict] = []
        for name, digest in zip(ids, digests, strict=True):
            before = known.get(name)
            if before is None:
                known[name] = digest
                added.append(name)
                verdicts.append("new")
            else:
                verdicts.append("duplicate" if before == digest else "conflict")
        return verdicts


class _Deltas:
    name = "deduplication delta"
    elder_holds = False

    def cut(self, ids: list[str]) -> Sequence[list[str]]:
        """Cut `ids` in halves until each fits, without copying where all do."""
        if _size(ids) <= DELTA_BYTES_MAX:
            return [ids] if ids else []
        middle = len(ids) // 2
        return [ids] if middle == 0 else [*self.cut(ids[:middle]), *self.cut(ids[middle:])]

    def encode(self, part: Part, values: Sequence[bytes]) -> bytes:
        head = _HEAD.pack(_VERSION, part.arrival_ms, len(part.ids))
        return head + b"".join(values) + orjson.dumps(part.ids)

    def decode(self, value: bytes) -> tuple[Part, list[bytes]]:
        if value[:1] != bytes([_VERSION]):
            raise StateCorruptError(
                f"a deduplication delta has version {value[:1].hex() or 'none'}, "
                f"this release reads {_VERSION}"
            )
        try:
            _, arrival_ms, count = _HEAD.unpack_from(value)
            end = _HEAD.size + count * DIGEST_BYTES
            names: list[str] = orjson.loads(value[end:])
        except (struct.error, orjson.JSONDecodeError) as error:
            raise StateCorruptError(f"a deduplication delta is damaged: {error}") from error
        if len(names) != count:
            raise StateCorruptError(f"a deduplication delta names {len(names)} ids, not {count}")
        digests = [value[i : i + DIGEST_BYTES] for i in range(_HEAD.size, end, DIGEST_BYTES)]
        return Part(arrival_ms, names), digests


def _size(ids: list[str]) -> int:
    return sum(map(len, ids)) * _CHARACTER_BYTES_MAX + len(ids) * _BESIDE_ID_BYTES
