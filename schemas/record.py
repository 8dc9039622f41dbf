"""Records as they cross a topic: what was read, and what shall be written.

The only shape in which bytes travel between `streams` and the codec. Tuples, because millions of
them are made: immutable, small, and untracked by the cyclic garbage collector once examined.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

__all__ = ["Headers", "Output", "OutputColumns", "Record"]

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


class OutputColumns(NamedTuple):
    """Many records to write to one topic, in order: half the cost of an `Output` for each.

    Attributes:
        keys, values: of each record.
        headers: of each record; None where none has any.
        partition: of all of them; without one the murmur2 of each key decides.
    """

    topic: str
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None
    partition: int | None = None

    @property
    def rows(self) -> Iterator[tuple[bytes | None, bytes | None, Headers]]:
        """Key, value and headers of each record."""
        headers = repeat(()) if self.headers is None else self.headers
        # Not strict, as a repetition has no end; the columns are of one length.
        assert len(self.keys) == len(self.values), (len(self.keys), len(self.values))
        return zip(self.keys, self.values, headers, strict=False)

    def outputs(self) -> Iterator[Output]:
        """Yield each record by itself."""
        for key, value, headers in self.rows:
            yield Output(self.topic, key, value, headers, self.partition)
