"""The bar of a long work: how much is done, how fast, how long it will take.

Drawn on a terminal only, and gone when the work is done: a pipe sees nothing of it. Work of minutes
says a line now and then where there is no terminal: `Lines`.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from batuta.streams.cli.terminal import say, stderr

__all__ = ["Lines", "Meter", "meter"]

_LINE_EVERY_S: Final = 30.0


class Meter:
    """The progress of one long work, counted in whatever it is made of."""

    def __init__(self, progress: Progress, title: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how much is done, and how much there is in all where that has become known."""
        self._progress.update(self._task, completed=done, total=total)


class Lines:
    """A plain line on stderr now and then, where that is no terminal."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._silent = stderr().is_terminal
        self._said_s, self._said = time.monotonic(), 0

    def reach(self, done: int) -> None:
        """Say how much is done, where the last line is old enough."""
        seconds = time.monotonic() - self._said_s
        if self._silent or seconds < _LINE_EVERY_S:
            return
        rate = (done - self._said) / seconds
        say(f"{self._title} {done:,} of {self._total:,}, {rate:,.0f}/s")
        self._said_s, self._said = time.monotonic(), done


class _Rate(ProgressColumn):
    """How many per second, over the last seconds."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


@contextmanager
def meter(title: str, total: int | None = None) -> Generator[Meter]:
    """Show a bar while the block runs; `total` may become known later."""
    console = stderr()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        yield Meter(progress, title, total)
