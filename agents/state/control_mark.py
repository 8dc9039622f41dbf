"""The control mark: how far a lane has come in `batuta.control`, beside what it remembers.

Which versions are live hangs on how far control was read. A lane that begins again, here or at
another worker, must not fall behind what its committed batches have met: so the first batch under a
new offset writes it, in the transaction of what was decided under it.

Changelog: key `tag` + `offset`; value, after the keyed table's version: the offset (8 bytes).

    mark = ControlMark(b"v")
    mark.begin()
    mark.reach(12)
    mark.changes(now_ms=0)    # the first batch under 12 tells it; those after it nothing
"""

from typing import Final

from batuta.agents.state.codecs import INT, TEXT, Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Tables

__all__ = ["ControlMark"]

_KEY: Final = "offset"


class ControlMark(Tables):
    """A table of one number, that only grows."""

    def __init__(self, tag: bytes) -> None:
        """Open it for a lane that has met nothing yet."""
        self.tag = tag
        self._kept = KeyedTable(tag, Codec(TEXT, INT), "control mark", entries_max=1)
        super().__init__((self._kept,))

    @property
    def offset(self) -> int:
        """Behind the last control record that a batch of the lane has met; 0 where none has."""
        return self._kept.get(_KEY) or 0

    def reach(self, offset: int) -> None:
        """Note under which offset the open batch runs."""
        if offset > self.offset:
            self._kept.put(_KEY, offset)
