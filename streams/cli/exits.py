"""The one place that turns what happened into an exit code and a sentence on stderr.

0   yes: the command did what it says
1   a negative answer: a check failed, nothing was found, a difference
2   wrong usage: an option, a setting or a file; the message names the fix
3   the outside world could not be reached within the deadline
70  a fault of our own, with its traceback
130 interrupted by a command that does not take Ctrl-C as its end
"""

import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NoReturn

import typer

from batuta.schemas.errors import BatutaError, LaterError, OursError, UsageError
from batuta.streams.cli.terminal import say

__all__ = ["Exit", "exit_code_of", "leave"]


class Exit(IntEnum):
    """What the caller's shell is told."""

    YES = 0
    NEGATIVE = 1
    USAGE = 2
    UNREACHABLE = 3
    FAULT = 70
    INTERRUPTED = 130


_REPORT: Final = "This is a fault of batuta's own: please report it with the lines above."


def leave(code: Exit) -> NoReturn:
    """End the command with `code`, its result already printed."""
    raise typer.Exit(int(code))


def exit_code_of(command: Callable[[], object]) -> int:
    """Run `command` and return its exit code; expected errors are told in a sentence.

    typer prints its own usage errors and leaves by SystemExit, which passes through.
    """
    try:
        command()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OursError:
        return _fault()
    except BatutaError as error:
        return _expected(error)
    except Exception:  # noqa: BLE001 - the edge of the process: shown whole, never swallowed
        return _fault()
    return Exit.YES


def _expected(error: BatutaError) -> Exit:
    say(f"error: {error}", style="red")
    if isinstance(error, UsageError):
        return Exit.USAGE
    if isinstance(error, LaterError):
        return Exit.UNREACHABLE
    return Exit.NEGATIVE


def _fault() -> Exit:
    say(f"{traceback.format_exc()}{_REPORT}")
    return Exit.FAULT
