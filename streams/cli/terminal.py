"""What the commands print with: results on stdout, everything else on stderr.

Events, models and people say what they like: it is shown, and no terminal takes orders from it.

rich decides about colour: none where the stream is no terminal or `NO_COLOR` is set.
"""

import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["plain", "print_json", "say", "silence_stdout", "stderr", "stdout", "step"]


@cache
def stdout() -> "Console":
    """Return the console that results go to."""
    from batuta.streams.cli.plain_console import PlainConsole

    return PlainConsole()


@cache
def stderr() -> "Console":
    """Return the console that progress, logs and errors go to."""
    from batuta.streams.cli.plain_console import PlainConsole

    return PlainConsole(stderr=True)


def plain(text: str) -> str:
    r"""Return a text that tells a terminal nothing but to end a line: what is no sign is spelt out.

    >>> plain("paid\x1b[2J")
    'paid\\x1b[2J'
    """
    if text.isprintable():
        return text
    ended = text.replace("\r\n", "\n")
    return "".join(c if c == "\n" or _is_sign(c) else ascii(c)[1:-1] for c in ended)


def _is_sign(character: str) -> bool:
    # Spaces of other scripts are no orders.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def say(sentence: str, style: str = "") -> None:
    """Print one sentence on stderr, whole on its line, whatever brackets it contains."""
    stderr().print(sentence, style=style, markup=False, soft_wrap=True)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as one JSON object on one line of stdout; what is no sign is escaped in it."""
    line = json.dumps(result, ensure_ascii=False)
    if not line.isprintable():
        line = "".join(c if _is_sign(c) else json.dumps(c)[1:-1] for c in line)
    sys.stdout.write(line + "\n")
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
    from rich.markup import escape

    told: list[str] = []
    start_s = time.monotonic()
    with stderr().status(f"{name} ..."):
        yield told.append
    for sentence in told:
        seconds = time.monotonic() - start_s
        stderr().print(
            f"[green]✓[/] {name:<9} {escape(sentence)} [dim]({seconds:.1f} s)[/]",
            markup=True,
            soft_wrap=True,
        )
