"""What a lane knows of its leases: what it remembers of each budget, what it has drawn by now."""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, cast

from batuta.agents.state.codecs import JsonValue
from batuta.schemas.errors import StateCorruptError

__all__ = ["Entry", "Lease", "Live", "read_entry", "written"]

_SIMPLE: Final = ("last", "asked", "asked_ms", "rung", "until_ms", "limit_nano", "dry", "again_ms")


class Lease(NamedTuple):
    """An amount that a lane may spend until a window turns."""

    number: int
    amount_nano: int
    until_ms: int


@dataclass(slots=True)
class Entry:
    """What is remembered of one budget."""

    last: int = 0
    asked: int = 0
    asked_ms: int = 0
    leases: list[Lease] = field(default_factory=list[Lease])
    rung: str = ""
    until_ms: int = 0
    limit_nano: int = 0
    dry: bool = False
    again_ms: int = 0


@dataclass(slots=True)
class Live:
    """A lease that this worker has received, and what was drawn from it."""

    lease: Lease
    phase: Literal["received", "open", "closing"] = "received"
    used_nano: int = 0
    held: dict[int, int] = field(default_factory=dict[int, int])
    held_nano: int = 0
    drawn_ms: int = 0
    drained_ms: int | None = None

    @property
    def left_nano(self) -> int:
        """What may still be reserved."""
        return self.lease.amount_nano - self.used_nano - self.held_nano


def written(entry: Entry) -> JsonValue:
    """Return an entry as JSON takes it; `read_entry` takes it back."""
    return {
        "last": entry.last,
        "asked": entry.asked,
        "asked_ms": entry.asked_ms,
        "leases": [[*lease] for lease in entry.leases],
        "rung": entry.rung,
        "until_ms": entry.until_ms,
        "limit_nano": entry.limit_nano,
        "dry": entry.dry,
        "again_ms": entry.again_ms,
    }


def read_entry(value: JsonValue) -> Entry:
    """Take back what `written` returned.

    Raises:
        StateCorruptError: it is damaged.
    """
    try:
        found = cast("dict[str, object]", value)
        leases = cast("list[list[int]]", found["leases"])
        fields = {name: found[name] for name in _SIMPLE}
        entry = Entry(**fields)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        entry.leases.extend(Lease(*lease) for lease in leases)
    except (KeyError, TypeError, ValueError) as error:
        raise StateCorruptError(f"the purse of a lane is damaged: {error!r}") from error
    return entry
