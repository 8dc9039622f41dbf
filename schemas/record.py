"""Records as they cross a topic: what was read, and what shall be written.

The only shape in which bytes travel between `streams` and the codec. Tuples, because millions of
them are made: immutable, small, and untracked by the cyclic garbage collector once examined.
"""

from typing import NamedTuple

__all__ = ["Headers", "Output", "Record"]

Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """One record read from a topic; `timestamp_ms` is the broker's record timestamp."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Output(NamedTuple):
    """One record to write; without a `partition` the murmur2 of its key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
