"""What the commands print with: results on stdout, everything else on stderr.

rich decides about colour: none where the stream is no terminal or `NO_COLOR` is set.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_json", "say", "silence_stdout", "stderr", "stdout", "step"]


@cache
def stdout() -> "Console":
    """Return the console that results go to."""
    from rich.console import Console

    return Console(highlight=False)


@cache
def stderr() -> "Console":
    """Return the console that progress, logs and errors go to."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(sentence: str, style: str = "") -> None:
    """Print one sentence on stderr, whole on its line, whatever brackets it contains."""
    stderr().print(sentence, style=style, markup=False, soft_wrap=True)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as one JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def step(name: str) -> "Generator[Callable[[str], None]]":
    """Show on stderr that a step is under way, then what came of it and how long it took.

    Yields:
        Takes the sentence to say once it is done; without one nothing stays on the screen.
    """
    told: list[str] = []
    start_s = time.monotonic()
    with stderr().status(f"{name} ..."):
        yield told.append
    for sentence in told:
        seconds = time.monotonic() - start_s
        stderr().print(
            f"[green]✓[/] {name:<9} {sentence} [dim]({seconds:.1f} s)[/]", soft_wrap=True
        )
