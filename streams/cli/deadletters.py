"""`batuta deadletters`: what no stage could accept, why, and how it goes back, once."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.schemas.errors import UsageError
from batuta.streams.cli.deadletters_options import (
    Bureau,
    DropHeaders,
    Encoding,
    Ids,
    LettersPath,
    LettersRate,
    Patch,
    Reason,
    Reveal,
    SetHeaders,
    Sets,
    ShownMax,
    Since,
    StageName,
    Until,
    Value,
    Wanted,
    open_bureau,
)
from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, PipelineName
from batuta.streams.cli.signals import run_until_stopped
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.schemas.record import Record
    from batuta.streams.cli.deadletters_reading import Reading
    from batuta.streams.cli.deadletters_returning import Returned
    from batuta.streams.deadletters.dead_letters import Found

__all__ = ["deadletters"]

_TOLD_MAX: Final = 20

deadletters = typer.Typer(
    name="deadletters",
    help="List, show, fix and redrive what no stage could accept.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@deadletters.command("list")
def list_letters(
    pipeline: PipelineName,
    *,
    reason: Reason = None,
    stage: StageName = None,
    path: LettersPath = None,
    since: Since = None,
    until: Until = None,
    whole: Annotated[
        bool, typer.Option("--all", help="Also kinds of which every one was redriven.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason, stage and place in the event.

    Leaves with 1 where nothing waits.

    Example: batuta deadletters list fraud --since 1d --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.cli.deadletters_groups import Groups

    wanted = Wanted(None, reason, stage, path, since, until)
    bureau = open_bureau(pipeline, bootstrap, wanted)
    groups = Groups()

    def take(found: "Found", reading: "Reading") -> None:
        groups.add(found, redriven=found in reading.ledger)

    reading = _go_through(bureau, take)
    shown = {k: one for k, one in groups.by_kind.items() if whole or one.waiting}
    if as_json:
        told = [group.as_json(kind) for kind, group in shown.items()]
        print_json({"pipeline": pipeline, **_counts(reading), "groups": told})
    elif shown:
        stdout().print(groups.table(shown))
    if not shown:
        say(_nothing(bureau, reading), style="yellow")
        leave(Exit.NEGATIVE)


@deadletters.command("show")
def show(
    pipeline: PipelineName,
    ids: Ids = None,
    *,
    reason: Reason = None,
    stage: StageName = None,
    path: LettersPath = None,
    since: Since = None,
    until: Until = None,
    shown_max: ShownMax = 10,
    reveal: Reveal = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show dead letters: the record as it came, why it was refused, where it came from.

    Personal fields are hidden unless revealed. Leaves with 1 where nothing is found.

    Example: batuta deadletters show fraud 2:17 --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.cli.deadletters_screen import Screen

    bureau = open_bureau(pipeline, bootstrap, Wanted(ids, reason, stage, path, since, until))
    kept: list[Found] = []

    def take(found: "Found", reading: "Reading") -> None:
        del reading
        if len(kept) < shown_max or found.id in bureau.selection.ids:
            kept.append(found)

    reading = _go_through(bureau, take)
    screen = Screen(bureau, reveal=reveal)
    letters = [(found, reading.ledger.marker_of(found)) for found in kept]
    if as_json:
        told = [screen.as_json(found, marker) for found, marker in letters]
        print_json({"pipeline": pipeline, **_counts(reading), "letters": told})
    else:
        for found, marker in letters:
            stdout().print(screen.as_text(found, marker))
        if reading.found > len(kept):
            say(f"{reading.found - len(kept):,} more; --max shows them", style="dim")
    _leave_where_missing(bureau, reading)


@deadletters.command("fix")
def fix(
    pipeline: PipelineName,
    ids: Ids = None,
    *,
    sets: Sets = None,
    patch: Patch = None,
    value: Value = None,
    encoding: Encoding = None,
    headers: SetHeaders = None,
    drop_headers: DropHeaders = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Redrive what is fixed; else nothing is written.")
    ] = False,
    rate: LettersRate = 0.0,
    reason: Reason = None,
    stage: StageName = None,
    path: LettersPath = None,
    since: Since = None,
    until: Until = None,
    shown_max: ShownMax = 10,
    reveal: Reveal = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Fix dead letters, show what changes, and with --apply redrive those the stage will accept.

    Leaves with 1 where nothing is found, or where some could not be fixed.

    Example: batuta deadletters fix fraud --reason wrong_type --set amount='double(event.amount)'
    """
    from batuta.streams.cli.deadletters_fixing import FixOptions, read_fix
    from batuta.streams.cli.deadletters_trial import Trial

    mend = read_fix(FixOptions(sets, patch, value, encoding, headers, drop_headers))
    bureau = open_bureau(pipeline, bootstrap, Wanted(ids, reason, stage, path, since, until))
    trial = Trial(bureau, mend, shown_max=shown_max, reveal=reveal)
    reading = _go_through(bureau, trial.take)
    returned = None
    if apply:
        returned = _send_back(bureau, trial.mended, rate, trial.fixed)
    if as_json:
        applied = {} if returned is None else _returned_json(returned)
        told = {**_counts(reading), **trial.as_json(), "applied": apply, **applied}
        print_json({"pipeline": pipeline, **told})
    else:
        for page in trial.pages:
            stdout().print(page)
        stdout().print(trial.sentence(applied=apply), soft_wrap=True)
        _say_returned(bureau, reading, returned)
    _leave_where_missing(bureau, reading)
    _leave_where_stopped(returned)
    if trial.failed:
        leave(Exit.NEGATIVE)


@deadletters.command("redrive")
def redrive(
    pipeline: PipelineName,
    ids: Ids = None,
    *,
    reason: Reason = None,
    stage: StageName = None,
    path: LettersPath = None,
    since: Since = None,
    until: Until = None,
    whole: Annotated[bool, typer.Option("--all", help="Whatever waits; else select.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go where, and write nothing.")
    ] = False,
    rate: LettersRate = 0.0,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Send dead letters back as they are, each to the stage that refused it, once.

    For after an outage, or a release that accepts them. Those redriven before are left out, so
    that it may be run again after any end. Leaves with 1 where nothing is found.

    Example: batuta deadletters redrive fraud --reason gave_up --rate 100 --dry-run
    """
    bureau = open_bureau(pipeline, bootstrap, Wanted(ids, reason, stage, path, since, until))
    if not (whole or bureau.selection.chosen):
        raise UsageError(
            "which dead letters? give --reason, --stage, --path, --since, --until, "
            "PARTITION:OFFSET, or --all for whatever waits"
        )
    plan = _Plan(bureau)
    reading = _go_through(bureau, plan.take)
    returned = None if dry_run else _send_back(bureau, plan.record, rate, plan.waiting)
    told = plan.as_json() if returned is None else _returned_json(returned)
    if as_json:
        print_json({"pipeline": pipeline, **_counts(reading), "dry_run": dry_run, **told})
    elif returned is None:
        stdout().print(plan.sentence(), soft_wrap=True)
    else:
        _say_returned(bureau, reading, returned)
    _leave_where_missing(bureau, reading)
    _leave_where_stopped(returned)
    _leave_where_some_stay(bureau, plan)


@dataclass
class _Plan:
    """What a redrive would send back.

    Attributes:
        by_stage: how many wait for each stage.
        refused_again: how many of them this release would refuse again.
        homeless: how many were refused by a stage that the pipeline does not have.
        outputs: how many are outputs of a stage, which no stage reads.
    """

    bureau: Bureau
    by_stage: dict[str, int] = field(default_factory=dict[str, int])
    refused_again: int = 0
    homeless: int = 0
    outputs: int = 0

    @property
    def waiting(self) -> int:
        return sum(self.by_stage.values())

    def take(self, found: "Found", reading: "Reading") -> None:
        if found in reading.ledger:
            return
        stage = found.letter.stage
        door = self.bureau.doors.get(stage)
        if found.letter.is_output:
            self.outputs += 1
            return
        if door is None:
            self.homeless += 1
            return
        self.by_stage[stage] = self.by_stage.get(stage, 0) + 1
        refusal = door.refusal(found.letter.record, time.time_ns() // 1_000_000)
        self.refused_again += refusal is not None

    def record(self, found: "Found") -> "Record | None":
        letter = found.letter
        return letter.record if letter.stage in self.bureau.doors and not letter.is_output else None

    def as_json(self) -> dict[str, object]:
        return {
            "redriven": 0,
            "would_redrive": self.waiting,
            "by_stage": self.by_stage,
            "would_be_refused_again": self.refused_again,
        }

    def sentence(self) -> str:
        where = ", ".join(f"{count:,} to {stage}" for stage, count in self.by_stage.items())
        again = f"; {self.refused_again:,} would be refused again" if self.refused_again else ""
        return f"{self.waiting:,} would be redriven{': ' if where else ''}{where}{again}"


def _go_through(bureau: Bureau, take: "Callable[[Found, Reading], None]") -> "Reading":
    from batuta.streams.cli.deadletters_reading import go_through

    return asyncio.run(go_through(bureau, take))


def _send_back(
    bureau: Bureau, prepare: "Callable[[Found], Record | None]", rate: float, total: int
) -> "Returned":
    from batuta.streams.cli.deadletters_returning import Returned, Returning, send_back

    if total == 0:  # nothing to fence anybody for
        return Returned()
    work = Returning(bureau, prepare, rate, total)
    return run_until_stopped(lambda stop: send_back(work, stop))


def _counts(reading: "Reading") -> dict[str, object]:
    return {
        "found": reading.found,
        "waiting": reading.found - reading.redriven,
        "already_redriven": reading.redriven,
        "missing": sorted(str(one) for one in reading.missing),
        "strays": [str(stray.id) for stray in reading.strays[:_TOLD_MAX]],
    }


def _returned_json(returned: "Returned") -> dict[str, object]:
    return {
        "redriven": returned.count,
        "by_stage": returned.by_stage,
        "seconds": round(returned.seconds, 3),
        "per_second": round(returned.count / max(returned.seconds, 1e-9), 1),
        "stopped": returned.stopped,
        "pruned": returned.pruned,
    }


def _say_returned(bureau: Bureau, reading: "Reading", returned: "Returned | None") -> None:
    if returned is None:
        return
    where = ", ".join(f"{count:,} to {stage}" for stage, count in returned.by_stage.items())
    already = f", {reading.redriven:,} were before" if reading.redriven else ""
    stdout().print(
        f"{returned.count:,} redriven{': ' if where else ''}{where}{already} "
        f"({returned.seconds:.1f} s); {bureau.topics.redriven} remembers them",
        soft_wrap=True,
    )
    if returned.stopped:
        say(returned.stopped, style="yellow")


def _leave_where_stopped(returned: "Returned | None") -> None:
    if returned and returned.stopped:
        leave(Exit.INTERRUPTED if returned.interrupted else Exit.NEGATIVE)


def _leave_where_some_stay(bureau: Bureau, plan: _Plan) -> None:
    if plan.outputs:
        say(f"{plan.outputs:,} stay: outputs too large for their topic, cut", style="yellow")
    if plan.homeless:
        known = ", ".join(bureau.doors)
        say(f"{plan.homeless:,} stay: no stage of theirs among {known}", style="yellow")
    if plan.outputs or plan.homeless:
        leave(Exit.NEGATIVE)


def _leave_where_missing(bureau: Bureau, reading: "Reading") -> None:
    if reading.missing:
        names = ", ".join(sorted(str(one) for one in reading.missing))
        say(f"no dead letter {names} on {bureau.topics.deadletters}", style="yellow")
        leave(Exit.NEGATIVE)
    if not reading.found:
        say(_nothing(bureau, reading), style="yellow")
        leave(Exit.NEGATIVE)


def _nothing(bureau: Bureau, reading: "Reading") -> str:
    topic = bureau.topics.deadletters
    if reading.redriven:
        return f"nothing waits: all {reading.redriven:,} were redriven; --all lists them"
    if not reading.searched:
        return f"{topic} is empty: no stage has refused anything"
    name = bureau.topics.pipeline
    return (
        f"none of the {reading.searched:,} dead letters on {topic} is meant: "
        f"`batuta deadletters list {name} --all` shows their kinds"
    )
