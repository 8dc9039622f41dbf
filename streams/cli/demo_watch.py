"""Who watches the demonstration: a person at a terminal, a pipe, or a program.

a terminal                  the live page, drawn anew four times a second
a terminal and `--json`     a progress bar on stderr
no terminal                 one plain line every few seconds on stderr, then what to try next
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.live import Live

from batuta.streams.cli.demo_screen import Page, status_line, try_next
from batuta.streams.cli.progress import meter
from batuta.streams.cli.terminal import say, stderr, stdout
from batuta.streams.demo.view import View
from batuta.streams.settings import Settings
from batuta.streams.telemetry.logs import configure_logs

__all__ = ["Watch", "watching"]

Watch = Callable[[View], None]

_LINE_EVERY_S: Final = 5.0


@contextmanager
def watching(as_json: bool, events: int | None, settings: Settings) -> Generator[Watch]:
    """Yield what shall be called with each view of the run.

    Log lines go through the page while there is one, so that they do not tear it.
    """
    if stdout().is_terminal and not as_json:
        with Live(console=stdout(), auto_refresh=False) as live:
            configure_logs(settings)
            yield lambda view: live.update(Page(view), refresh=True)
        configure_logs(settings)
        return
    configure_logs(settings)
    if stderr().is_terminal:
        with meter("answered", events) as bar:
            yield lambda view: bar.reach(view.answered)
        return
    yield _Lines(serving=events is None).see


class _Lines:
    """Says one line now and then, and once what to try while the run serves."""

    def __init__(self, *, serving: bool) -> None:
        self._serving = serving
        self._said_at_s = 0.0

    def see(self, view: View) -> None:
        """Say a line where the last one is old enough."""
        if view.seconds - self._said_at_s < _LINE_EVERY_S:
            return
        self._said_at_s = view.seconds
        say(status_line(view))
        if self._serving and view.explain_id is not None:
            self._serving = False
            stdout().print(try_next(view.stage, view.explain_id), soft_wrap=True)
