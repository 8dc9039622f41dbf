"""Which dead letters are meant: by id, reason, stage, place in the event, and time."""

import re
from dataclasses import dataclass
from typing import Final

from batuta.schemas.redriven import LetterId
from batuta.streams.deadletters.dead_letters import Found

__all__ = ["Selection", "schema_path"]

_NUMBERED: Final = re.compile(r"(?<=/)\d+(?=/|$)")


def schema_path(path: str) -> str:
    """Return where in the schema a path lies: of a list, which item does not matter.

    >>> schema_path("lines/3/amount")
    'lines/*/amount'
    """
    return _NUMBERED.sub("*", path)


@dataclass(frozen=True, slots=True)
class Selection:
    """What must be true of a dead letter to be meant; what is not given excludes nothing.

    Attributes:
        ids: these and no others.
        reason, stage: as the dead letter says.
        path: as the dead letter says, or its schema path.
        since_ms, until_ms: refused at or after the one, before the other.
    """

    ids: frozenset[LetterId] = frozenset()
    reason: str | None = None
    stage: str | None = None
    path: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def chosen(self) -> bool:
        """Whether anything was asked for at all."""
        return self != Selection()

    def __contains__(self, found: Found) -> bool:
        """Whether a dead letter is meant."""
        letter = found.letter
        return (
            (not self.ids or found.id in self.ids)
            and self.reason in {None, letter.reason}
            and self.stage in {None, letter.stage}
            and self.path in {None, letter.path, schema_path(letter.path)}
            and (self.since_ms is None or letter.refused_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.refused_at_ms < self.until_ms)
        )
