"""`batuta version`: which batuta this is, and on what it runs."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Json
from batuta.streams.cli.terminal import print_json, stdout

__all__ = ["print_version", "version"]


def version(*, as_json: Json = False) -> None:
    """Print which version this is, and on what it runs.

    Example: batuta version --json
    """
    if as_json:
        print_json({"batuta": _installed(), "python": platform.python_version()})
    else:
        stdout().print(_line())


def print_version(wanted: bool) -> None:
    """Print the version and leave, where the option `--version` was given."""
    if wanted:
        stdout().print(_line())
        leave(Exit.YES)


def _line() -> str:
    return f"batuta {_installed()} (Python {platform.python_version()})"


def _installed() -> str:
    try:
        return version_of("batuta")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "unknown"
