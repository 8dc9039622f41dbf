"""What is wrong with a pipeline file, one line each: where, which field, which value, what to do.

fraud.yaml:12:31: understand[0].card.count[1]: "7x" is no duration; write a number and ms, s, m, h
or d, for example 7d
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from batuta.schemas.errors import UsageError

__all__ = ["Path", "PipelineFileError", "Problem", "did_you_mean", "path_text", "value_text"]

#: Where in a file: the names of fields and the numbers of list items on the way there.
Path = tuple[str | int, ...]

_SHOWN_MAX: Final = 80
_PROBLEMS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: its name.
        line, column: counted from 1.
        path: the field, `understand[0].card.count`; empty for the whole file.
        what: the value, what is wrong with it, and the remedy.
    """

    file: str
    line: int
    column: int
    path: str
    what: str

    def __str__(self) -> str:
        field = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {field}{self.what}"


class PipelineFileError(UsageError):
    """A pipeline file cannot be used.

    Attributes:
        problems: all that was found, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda one: (one.line, one.column)))
        assert self.problems, "an error without a problem"
        shown = [str(problem) for problem in self.problems[:_PROBLEMS_MAX]]
        more = len(self.problems) - len(shown)
        super().__init__("\n".join([*shown, f"and {more} more"] if more else shown))


def path_text(path: Path) -> str:
    """Return a path as people write it.

    >>> path_text(("understand", 0, "card", "count", 1))
    'understand[0].card.count[1]'
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def value_text(value: object) -> str:
    """Return a value as the file could hold it, cut where it is long.

    >>> value_text("7x"), value_text({"a": 1}), value_text(None)
    ('"7x"', '{"a": 1}', 'null')
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def did_you_mean(name: str, known: Sequence[str], *, what: str = "known") -> str:
    """Return what to write instead of an unknown name.

    >>> did_you_mean("cuont", ["count", "mean"])
    'did you mean "count"?'
    """
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"{what}: {', '.join(sorted(set(known)))}" if known else f"nothing is {what}"
