"""What the demonstration looks like: a live page, and the summary with what to try next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from batuta.schemas.decision import Outcome
from batuta.streams.cli.records import clock
from batuta.streams.cli.story_screen import OUTCOME_STYLES
from batuta.streams.demo.tally import Seen
from batuta.streams.demo.view import Result, Stage, View
from batuta.streams.settings import console_command

__all__ = ["Page", "next_commands", "status_line", "summary", "try_next"]

_WIDE: Final = 100
_ROWS_MIN: Final = 3
_LATEST_MAX: Final = 6
_STOPPED_MAX: Final = 12
#: Lines of the page that are not rows of decisions.
_FRAME: Final = 17


class Page:
    """The live page at one moment, fitted to the terminal it is drawn on."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the page's parts, no taller than the terminal."""
        room = max(2 * _ROWS_MIN, (options.height or console.height) - _FRAME)
        latest = min(_LATEST_MAX, max(_ROWS_MIN, room // 3))
        wide = options.max_width >= _WIDE
        yield _headline(self._view.stage)
        yield ""
        yield _figures(self._view, wide=wide)
        yield _refusals(self._view)
        yield ""
        yield _decisions("Stopped", self._view.stopped, min(_STOPPED_MAX, room - latest), wide=wide)
        yield ""
        yield _decisions("Latest", self._view.latest, latest, wide=wide)
        if not self._view.ended:
            yield ""
            yield try_next(self._view.stage, self._view.explain_id)


def summary(result: Result) -> RenderableType:
    """Return what the run came to."""
    return Panel(
        Group(*_result_lines(result)),
        title=f"batuta demo {result['pipeline']}",
        title_align="left",
        box=box.ROUNDED,
        expand=False,
        padding=(0, 1),
    )


def next_commands(stage: Stage, explain_id: str | None) -> list[tuple[str, str]]:
    """Return three commands that work while the broker does, and what each shows."""
    batuta, at = console_command(), f"--bootstrap {stage.bootstrap}"
    return [
        (f"{batuta} explain {explain_id or 'EVENT_ID'} {at}", "why stopped"),
        (f"{batuta} tail {stage.pipeline}.decisions {at}", "all decisions"),
        (f"curl {stage.metrics_url}", "metrics"),
    ]


def status_line(view: View) -> str:
    """Return one plain line, for a stream that is no terminal."""
    outcomes = ", ".join(f"{name} {count:,}" for name, count in _ordered(view.outcomes))
    refused = sum(view.refusals.values())
    return (
        f"{view.seconds:,.0f} s: {view.published:,} published, {view.answered:,} answered,"
        f" {view.per_second:,.0f}/s; {outcomes}; dead letters {refused:,};"
        f" age p50 {_ms(view.p50_ms)}, p99 {_ms(view.p99_ms)}"
    )


def _headline(stage: Stage) -> Text:
    line = Text("batuta demo ", style="bold")
    line.append(stage.pipeline, style="bold cyan")
    place = "embedded broker" if stage.embedded else "broker"
    line.append(f"   {place} {stage.bootstrap}   model {stage.model}", style="dim")
    return line


def _figures(view: View, *, wide: bool) -> Table:
    """Return the figures; on a narrow terminal fewer of them, for none may be cut."""
    counts = view.outcomes
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    figures = [
        ("events", f"{view.published:,}", "bold"),
        ("per second", f"{view.per_second:,.0f}", "bold"),
        *((name, f"{count:,}", OUTCOME_STYLES[name]) for name, count in _ordered(counts)),
        ("cases", f"{view.escalations:,}", ""),
        *([("notices", f"{view.notifications:,}", "")] if wide else []),
        *([("labels", f"{view.labels:,}", "")] if wide and view.labels is not None else []),
        ("age p50", _ms(view.p50_ms), ""),
        ("p99", _ms(view.p99_ms), ""),
    ]
    for name, _, style in figures:
        table.add_column(name, justify="right", style=style, no_wrap=True)
    table.add_row(*(figure for _, figure, _ in figures))
    return table


def _ordered(outcomes: Mapping[str, int]) -> list[tuple[Outcome, int]]:
    return [(name, outcomes.get(name, 0)) for name in OUTCOME_STYLES]


def _refusals(view: View) -> Text:
    count = sum(view.refusals.values())
    line = Text(f"dead letters {count:,}", style="magenta" if count else "dim", no_wrap=True)
    if view.stage.spoiled_share:
        line.append(f"  ({view.stage.spoiled_share:.1%} is spoiled on purpose)", style="dim")
    reasons = sorted(view.refusals.items(), key=lambda item: -item[1])
    line.append("  " + ", ".join(f"{name} {n:,}" for name, n in reasons), style="dim")
    line.overflow = "ellipsis"
    return line


def _decisions(title: str, seen: Sequence[Seen], rows: int, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
    table.show_edge = False
    table.add_column(title, style="dim", no_wrap=True, min_width=12)
    table.add_column("event", no_wrap=True)
    table.add_column("of", style="dim", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    if wide:
        table.add_column("age", justify="right", style="dim", no_wrap=True)
    table.add_column("because", ratio=1, no_wrap=True, overflow="ellipsis")
    for cells in _cells(seen, rows, wide=wide):
        table.add_row(*cells)
    return table


def _cells(seen: Sequence[Seen], rows: int, *, wide: bool) -> Iterator[Sequence[RenderableType]]:
    """Yield exactly `rows` rows, the last ones empty, so that the page does not jump."""
    for one in seen[:rows]:
        made = one.decision
        yield (
            clock(made.decided_at_ms),
            made.event_id,
            made.entity,
            Text(made.outcome, style=OUTCOME_STYLES[made.outcome]),
            f"{made.score:.3f}",
            *([f"{one.age_ms} ms"] if wide else []),
            ", ".join(code.replace("_", " ") for code in made.reasons[1:] or made.reasons),
        )
    for _ in range(rows - len(seen)):
        yield ("", "", "", "", "", "", "")[: 7 if wide else 6]


def try_next(stage: Stage, explain_id: str | None) -> RenderableType:
    """Return the commands to try while the run serves."""
    commands = next_commands(stage, explain_id)
    lines = Table.grid(padding=(0, 2))
    # What is copied must be whole; where the line is too short, the remark gives way.
    whole = max(len(command) for command, _ in commands)
    lines.add_column(style="cyan", no_wrap=True, min_width=whole)
    lines.add_column(style="dim", no_wrap=True)
    for command, shows in commands:
        lines.add_row(command, shows)
    return Group(Text("Try in another terminal; Ctrl-C ends this one", style="bold"), lines)


def _result_lines(result: Result) -> Iterator[Text]:
    outcomes = ", ".join(f"{count:,} {name}" for name, count in _ordered(result["outcomes"]))
    yield Text(
        f"{result['events']:,} events in {result['seconds']:,.1f} s,"
        f" {result['events_per_second']:,.0f} answered per second"
    )
    yield Text(f"{result['decisions']:,} decisions: {outcomes}")
    yield Text(
        f"{result['escalations']:,} review cases, {result['notifications']:,} notifications,"
        f" {result['deadletters']:,} dead letters"
    )
    if result["people_asked"]:
        yield Text(f"{result['people_asked']:,} events asked people, whom the demo stands in for")
    if result["labels"]:
        yield Text(
            f"{result['labels']:,} labels, {result['labels_joined']:,} joined with their events"
        )
    yield Text(
        f"age from due to readable: p50 {_ms(result['p50_ms'])}, p99 {_ms(result['p99_ms'])}"
    )
    broken = result["lost"] or result["duplicated"]
    verdict = f"{result['lost']:,} lost, {result['duplicated']:,} duplicated"
    yield Text(verdict, style="bold red" if broken else "bold green")


def _ms(age_ms: int | None) -> str:
    return "-" if age_ms is None else f"{age_ms:,} ms"
