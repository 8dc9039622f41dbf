"""The options that the `deadletters` commands share, and what they mean together."""

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped
    from batuta.schemas.redriven import LetterId
    from batuta.schemas.stage_doors import Door
    from batuta.schemas.topics import Topics
    from batuta.streams.deadletters.letter_selection import Selection
    from batuta.streams.settings import Settings

__all__ = [
    "Bureau",
    "DropHeaders",
    "Encoding",
    "Ids",
    "LettersPath",
    "LettersRate",
    "Patch",
    "Reason",
    "Reveal",
    "SetHeaders",
    "Sets",
    "ShownMax",
    "Since",
    "StageName",
    "Until",
    "Value",
    "Wanted",
    "open_bureau",
]

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PARTITION:OFFSET]...", help="These dead letters, as `list` names one."
    ),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="CODE", help="Only this reason: wrong_type, ...")
]
StageName = Annotated[
    str | None, typer.Option("--stage", metavar="STAGE", help="Only what this stage refused.")
]
LettersPath = Annotated[
    str | None,
    typer.Option("--path", metavar="PATH", help="Only this place in the event: lines/*/amount."),
]
_MOMENT: Final = "RFC 3339, or how long ago: 90s, 15m, 2h, 7d."
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help=f"Only what was refused from then on: {_MOMENT}"),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help=f"Only what was refused before: {_MOMENT}"),
]
LettersRate = Annotated[
    float,
    typer.Option(
        "--rate", metavar="R", min=0, help="Dead letters per second; 0 is as fast as it goes."
    ),
]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show personal fields too, and what may hold some.")
]
ShownMax = Annotated[
    int, typer.Option("--max", metavar="N", min=1, help="Show at most N, the oldest first.")
]

Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=CEL", help="Give a field, such as amount='double(event.amount)'."
    ),
]
Patch = Annotated[
    str | None,
    typer.Option("--patch", metavar="JSON|FILE", help="A JSON Patch (RFC 6902) of the data."),
]
Value = Annotated[
    str | None,
    typer.Option("--value", metavar="CEL", help="The whole new data; a text is the new value."),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Read the value in it, such as latin-1."),
]
SetHeaders = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME=TEXT", help="Set a header.")
]
DropHeaders = Annotated[
    list[str] | None, typer.Option("--drop-header", metavar="NAME", help="Remove a header.")
]

_AGO: Final = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Wanted:
    """The selecting options as they were given."""

    ids: list[str] | None
    reason: str | None
    stage: str | None
    path: str | None
    since: str | None
    until: str | None


@dataclass(frozen=True)
class Bureau:
    """What every `deadletters` command works with.

    Attributes:
        doors: what each stage reads, by its name.
        selection: which dead letters are meant.
    """

    settings: "Settings"
    shipped: "Shipped"
    topics: "Topics"
    doors: "dict[str, Door]"
    selection: "Selection"


def open_bureau(pipeline: str, bootstrap: str | None, wanted: Wanted) -> Bureau:
    """Return what a command works with.

    Raises:
        UsageError: an option names what there is not, or cannot be read.
    """
    from batuta.schemas.stage_doors import stage_doors
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.pipelines import shipped_pipeline
    from batuta.streams.settings import load_settings

    shipped = shipped_pipeline(pipeline)
    every = stage_doors(shipped.pipeline, shipped.data, shipped.label)
    doors = {name: every[name] for name in shipped.stages}
    selection = _selection(wanted, list(doors))
    connection(bootstrap)  # silences the client library; an address that cannot be is told now
    settings = load_settings(bootstrap=bootstrap)
    return Bureau(settings, shipped, shipped.topics, doors, selection)


def _selection(wanted: Wanted, stages: list[str]) -> "Selection":
    from batuta.streams.deadletters.letter_selection import Selection

    if wanted.stage is not None and wanted.stage not in stages:
        raise UsageError(
            f"--stage {wanted.stage!r} is no stage: expected one of {', '.join(stages)}"
        )
    now_ms = time.time_ns() // 1_000_000
    return Selection(
        ids=frozenset(_letter_id(text) for text in wanted.ids or ()),
        reason=wanted.reason,
        stage=wanted.stage,
        path=wanted.path,
        since_ms=_moment("--since", wanted.since, now_ms),
        until_ms=_moment("--until", wanted.until, now_ms),
    )


def _letter_id(text: str) -> "LetterId":
    from batuta.schemas.redriven import LetterId

    try:
        return LetterId.parse(text)
    except ValueError as error:
        raise UsageError(f"{error}; `batuta deadletters list` names one of each kind") from error


def _moment(option: str, text: str | None, now_ms: int) -> int | None:
    from batuta.schemas.times import parse_rfc3339

    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return now_ms - int(ago[1]) * _SECONDS[ago[2]] * 1_000
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is no time: expected 2026-11-22T10:00:00Z with its zone, "
            "or how long ago, such as 90s, 15m, 2h or 7d"
        ) from error
