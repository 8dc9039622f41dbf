"""Dead letters by what is wrong with them: reason, stage, and place in the schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.table import Table
from rich.text import Text

from batuta.streams.cli.records import when
from batuta.streams.deadletters.dead_letters import Found
from batuta.streams.deadletters.letter_selection import schema_path

__all__ = ["Group", "Groups", "Kind"]

#: Producers choose the names of unknown fields: past this many kinds the paths are left out.
_KINDS_MAX: Final = 1_000


class Kind(NamedTuple):
    """What the dead letters of a group have in common."""

    reason: str
    stage: str
    path: str


@dataclass(slots=True)
class Group:
    """Dead letters of one kind.

    Attributes:
        waiting, redriven: how many there are of each.
        first_ms, last_ms: when the first and the last of them were refused.
        example: the last one that waits, else the last one.
    """

    example: Found
    first_ms: int
    last_ms: int
    waiting: int = 0
    redriven: int = 0

    def as_json(self, kind: Kind) -> dict[str, object]:
        """Return it as one JSON object."""
        return {
            "reason": kind.reason,
            "stage": kind.stage,
            "path": kind.path,
            "waiting": self.waiting,
            "redriven": self.redriven,
            "first": when(self.first_ms),
            "last": when(self.last_ms),
            "example": self.example.letter.detail,
            "example_id": str(self.example.id),
        }


class Groups:
    """Counts dead letters by their kind."""

    def __init__(self) -> None:
        self._groups: dict[Kind, Group] = {}

    def add(self, found: Found, *, redriven: bool) -> None:
        """Count one."""
        letter = found.letter
        kind = Kind(letter.reason, letter.stage, schema_path(letter.path))
        if kind not in self._groups and len(self._groups) >= _KINDS_MAX:
            kind = kind._replace(path="...")
        group = self._groups.get(kind)
        if group is None:
            moment_ms = letter.refused_at_ms
            group = self._groups[kind] = Group(found, moment_ms, moment_ms)
        group.first_ms = min(group.first_ms, letter.refused_at_ms)
        group.last_ms = max(group.last_ms, letter.refused_at_ms)
        if not redriven or group.waiting == 0:
            group.example = found
        group.waiting += not redriven
        group.redriven += redriven

    @property
    def by_kind(self) -> Mapping[Kind, Group]:
        """The groups, the one with the most that wait first."""
        ranked = sorted(self._groups.items(), key=lambda one: (-one[1].waiting, one[0]))
        return dict(ranked)

    @staticmethod
    def table(groups: Mapping[Kind, Group]) -> Table:
        """Return groups for a terminal."""
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("waiting", "redriven"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("first", "last"):
            table.add_column(name, no_wrap=True)
        table.add_column("what", overflow="fold")
        for kind, group in groups.items():
            table.add_row(
                Text(f"{group.waiting:,}", style="bold" if group.waiting else "dim"),
                Text(f"{group.redriven:,}", style="dim"),
                Text(_minute(group.first_ms)),
                Text(_minute(group.last_ms)),
                _what(kind, group),
            )
        return table


def _what(kind: Kind, group: Group) -> Text:
    text = Text(kind.reason, style="red")
    text.append(f" at {kind.path}" if kind.path else "", style="bold default")
    text.append(f", by {kind.stage}\n", style="default")
    text.append(str(group.example.id), style="cyan")
    return text.append(f" {group.example.letter.detail}", style="dim default")


def _minute(time_ms: int) -> str:
    return when(time_ms)[5:16].replace("T", " ")
