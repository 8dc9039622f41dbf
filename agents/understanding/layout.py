"""The layout: which table of a stage's state holds what, written beside what the tables hold.

Windows and shares take their tags in the order of the pipeline file. Were two of them to change
places, each would go on with the other's past, and nobody would see it: so the first batch writes
what each tag stands for, and a state that was written for another order is refused by name. One
that is new takes the next tag, behind those that are there.

Changelog: key `tag` + the table's tag; value, after the keyed table's version: what it holds, as
text. A state from before the layout was written has none, and gets one with its next batch.

    layout = Layout({b"w": "card by card_id, mean of amount"})
    layout.begin()
    layout.changes(now_ms=0)    # the first batch tells it, under b"=w"; those after it nothing
"""

from collections.abc import Mapping, Sequence
from typing import Final

from batuta.agents.state.codecs import TEXT, Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Tables
from batuta.schemas.errors import StateCorruptError

__all__ = ["Layout"]

_TAG: Final = b"="
#: One for each tag that there may be.
_ENTRIES_MAX: Final = 256


class Layout(Tables):
    """A table of what the other tables of a stage hold."""

    def __init__(self, declared: Mapping[bytes, str]) -> None:
        """Open it for what the pipeline file declares, by tag."""
        self.tag = _TAG
        self._declared = {tag.decode(): declared[tag] for tag in sorted(declared)}
        self._told = KeyedTable(_TAG, Codec(TEXT, TEXT), "layout", entries_max=_ENTRIES_MAX)
        super().__init__((self._told,))

    def begin(self) -> None:
        """Open a batch, and tell in it what was not told yet."""
        super().begin()
        if self._told.entries() < len(self._declared):
            for tag, holds in self._declared.items():
                if self._told.get(tag) is None:
                    self._told.put(tag, holds)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take back one record.

        Raises:
            StateCorruptError: the state was written for another pipeline file.
        """
        self.load_many((key,), (value,))

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take back records.

        Raises:
            StateCorruptError: the state was written for another pipeline file.
        """
        super().load_many(keys, values)
        for tag in (key[1:].decode(errors="replace") for key in keys):
            told, declared = self._told.get(tag), self._declared.get(tag)
            if told is not None and told != declared:
                raise StateCorruptError(_difference(told, declared))


def _difference(told: str, declared: str | None) -> str:
    now = f"now declares {declared!r} in its place" if declared else "declares it no more"
    return (
        f"the state holds {told!r}, and the pipeline file {now}: declare windows and shares as they"
        " were when the state was written, new ones behind the others; or give the pipeline a new"
        " name, whose state begins empty"
    )
