"""`batuta review`: the cases that people are asked about, and what they say of them."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, PipelineName
from batuta.streams.cli.terminal import plain, print_json, say, stdout

if TYPE_CHECKING:
    from batuta.schemas.review import Reviewed
    from batuta.streams.review_desk import CaseFile, ReviewDesk

__all__ = ["review"]

review = typer.Typer(
    name="review",
    help="List, show and answer the cases that people are asked about.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

#: What stands before a value's further lines.
_INDENT = 29 * " "
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="Its id, or the first digits of it.")]
Queue = Annotated[
    str | None, typer.Option("--queue", metavar="NAME", help="Only cases for these reviewers.")
]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show personal fields too, and what may hold some.")
]


@review.command("list")
def list_cases(
    pipeline: PipelineName,
    *,
    queue: Queue = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    reveal: Reveal = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """List the cases that wait for a verdict, those that are due first before the others.

    Leaves with 1 where there is none.

    Example: batuta review list fraud --queue fraud_review --bootstrap 127.0.0.1:9092
    """
    desk = _desk(pipeline, bootstrap)
    now_ms = _now_ms()
    files = [
        file
        for file in asyncio.run(desk.cases()).values()
        if queue in (None, file.case.queue)
        and (every or file.standing(now_ms) in ("open", "overdue"))
    ]
    files.sort(key=lambda file: (file.case.due_at_ms, file.case.case_id))
    told = [_line(desk, file, now_ms, reveal=reveal) for file in files]
    if as_json:
        print_json({"pipeline": pipeline, "cases": told})
    else:
        for one in told:
            stdout().print(
                "  ".join(_plain(value) for value in one.values()), markup=False, soft_wrap=True
            )
    if not files:
        say("no case waits for a verdict", style="green")
        leave(Exit.NEGATIVE)


@review.command("show")
def show(
    pipeline: PipelineName,
    case: CaseId,
    *,
    reveal: Reveal = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show one case: what is asked, what is known, what became of it.

    Example: batuta review show fraud 4f0c9a7b --bootstrap 127.0.0.1:9092
    """
    desk = _desk(pipeline, bootstrap)
    file = _find(asyncio.run(desk.cases()), case)
    told = {"standing": file.standing(_now_ms()), **desk.shown(file, reveal=reveal)}
    told["reviewed"] = [_reviewed(one) for one in file.reviewed]
    if as_json:
        print_json(told)
        return
    for key, value in told.items():
        for name, part in _flat(key, value):
            stdout().print(f"{name:28} {_plain(part)}", markup=False, soft_wrap=True)


@review.command("answer")
def answer(
    pipeline: PipelineName,
    case: CaseId,
    *,
    verdict: Annotated[
        Literal["approve", "block", "unsure"],
        typer.Option("--verdict", help="What you say; unsure is no answer to a step."),
    ],
    by: Annotated[
        str,
        typer.Option("--by", envvar="BATUTA_REVIEWER", metavar="NAME", help="Who says it."),
    ],
    score: Annotated[
        float | None,
        typer.Option("--score", min=0, max=1, metavar="X", help="Else 0 or 1, by the verdict."),
    ] = None,
    comment: Annotated[
        str, typer.Option("--comment", metavar="TEXT", help="Why; stands in the record.")
    ] = "",
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="For what becomes of it.")
    ] = 10.0,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Say what you think of a case; the first verdict counts.

    Leaves with 1 where there is no such case, it was answered before, or its time is over.

    Example: batuta review answer fraud 4f0c9a7b --verdict block --by ada --comment "a known till"
    """
    from batuta.schemas.review import Verdict

    desk = _desk(pipeline, bootstrap)
    file = _find(asyncio.run(desk.cases()), case)
    now_ms = _now_ms()
    _check_open(file, now_ms)
    said = Verdict(file.case.case_id, verdict, by, now_ms, score, comment)
    reviewed = asyncio.run(desk.say(said, wait_s))
    result = None if reviewed is None else reviewed.result
    if as_json:
        print_json({"case_id": said.case_id, "verdict": verdict, "result": result})
    else:
        stdout().print(f"{said.case_id} {_SENTENCES[result]}", markup=False, soft_wrap=True)
    if result not in (None, "answered", "closed"):
        leave(Exit.NEGATIVE)


_SENTENCES: Mapping[str | None, str] = {
    "answered": "answered: its step goes on",
    "closed": "closed: the decision stands",
    "repeated": "was answered by somebody else a moment before, whose verdict counts",
    "late": "came too late: its step went on without",
    "unknown": "is known to no worker",
    None: "is written; no worker has taken it yet",
}


def _check_open(file: "CaseFile", now_ms: int) -> None:
    """Leave where a verdict would not count."""
    from batuta.streams.cli.records import when

    standing, end = file.standing(now_ms), file.end
    if standing == "open":
        return
    if end is not None and end.verdict is not None:
        what = (
            f"was answered by {end.verdict.by} at {when(end.at_ms)}, and the first verdict counts"
        )
    else:
        what = f"had time until {when(file.case.due_at_ms)}; its step went on without"
    say(f"case {file.case.case_id} {what}", style="yellow")
    leave(Exit.NEGATIVE)


def _desk(pipeline: str, bootstrap: str | None) -> "ReviewDesk":
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.pipelines import shipped_pipeline
    from batuta.streams.review_desk import ReviewDesk

    return ReviewDesk(shipped_pipeline(pipeline), connection(bootstrap))


def _find(cases: "Mapping[str, CaseFile]", wanted: str) -> "CaseFile":
    """Return the case whose id begins so, or leave."""
    found = [file for case_id, file in cases.items() if case_id.startswith(wanted)]
    if len(found) != 1:
        none = f"no case {wanted} among {len(cases):,}; batuta review list --all shows all"
        say(f"{len(found)} cases begin with {wanted}" if found else none, style="yellow")
        leave(Exit.NEGATIVE)
    return found[0]


def _line(desk: "ReviewDesk", file: "CaseFile", now_ms: int, *, reveal: bool) -> dict[str, object]:
    from batuta.schemas.review import StepCase
    from batuta.streams.cli.records import when

    shown, case = desk.shown(file, reveal=reveal), file.case
    step = isinstance(case, StepCase)
    about = shown if step else cast("dict[str, object]", shown["decision"])
    return {
        "case_id": case.case_id,
        "queue": case.queue,
        "standing": file.standing(now_ms),
        "due_at": when(case.due_at_ms),
        "asks": case.asked if isinstance(case, StepCase) else "about a decision",
        "event_id": about["event_id"],
    }


def _reviewed(one: "Reviewed") -> dict[str, object]:
    import orjson

    from batuta.schemas.codec import encode_reviewed

    body = encode_reviewed(one, "").value or b"{}"
    return cast("dict[str, object]", orjson.loads(body))


def _flat(key: str, value: object) -> list[tuple[str, object]]:
    """Return a value's parts with their paths, as people read them line by line."""
    if isinstance(value, dict) and value:
        members = cast("dict[str, object]", value).items()
        return [pair for name, part in members for pair in _flat(f"{key}.{name}", part)]
    if isinstance(value, list) and value:
        parts = cast("list[object]", value)
        return [pair for n, part in enumerate(parts) for pair in _flat(f"{key}[{n}]", part)]
    return [(key, value)]


def _plain(value: object) -> str:
    """Return a value as plain text, its further lines below the first."""
    return plain(str(value)).replace("\n", f"\n{_INDENT}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
