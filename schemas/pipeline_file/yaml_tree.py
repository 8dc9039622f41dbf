"""YAML 1.2 as values with positions: small, strict, and safe to read from anybody.

Scalars follow the core schema of YAML 1.2: only `true` and `false` are truth values, so `on` and
`yes` stay texts. What makes YAML dangerous or ambiguous is refused: duplicate keys, aliases (and so
merge keys), tags, several documents, deep nesting, large texts.
"""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from batuta.schemas.pipeline_file.problems import (
    Path,
    PipelineFileError,
    Problem,
    path_text,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TEXT_CHARACTERS_MAX", "Position", "Scalar", "Tree", "read_tree"]

#: A pipeline file is written by people: a larger one is something else.
TEXT_CHARACTERS_MAX: Final = 131_072
_DEPTH_MAX: Final = 16
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL_OR_HEX: Final = re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_INFINITE: Final = {
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

#: A value without parts.
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Position:
    """Line and column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A file's values and where each stands.

    Attributes:
        name: the file's name.
        value: mappings, lists and scalars.
        keys: where the key of a field stands, by path.
        values: where a value begins, by path.
        plain: the paths of texts that stand without quotes.
    """

    name: str
    value: object
    keys: dict[Path, Position] = field(default_factory=dict[Path, Position])
    values: dict[Path, Position] = field(default_factory=dict[Path, Position])
    plain: set[Path] = field(default_factory=set[Path])

    def problem(self, path: Path, what: str, *, key: bool = False) -> Problem:
        """Return a problem at `path`, or at the nearest thing around it that is there.

        Args:
            path: where.
            what: the value, what is wrong with it, and the remedy.
            key: whether the name of the field is meant, not its value.
        """
        place = self.keys.get(path) if key else None
        for end in range(len(path), -1, -1):
            place = place or self.values.get(path[:end])
        place = place or Position(1, 1)
        return Problem(self.name, place.line, place.column, path_text(path), what)


class _Mark(Protocol):
    line: int
    column: int


class _Event(Protocol):
    start_mark: _Mark
    anchor: str | None
    tag: object
    value: str
    style: str | None


class _Refused(Exception):  # noqa: N818 - control flow between two functions of this module
    def __init__(self, event: _Event, path: Path, what: str) -> None:
        super().__init__(what)
        self.event, self.path, self.what = event, path, what


def read_tree(text: str, name: str) -> Tree:
    """Read one YAML document.

    Args:
        text: the file's text.
        name: what messages call the file.

    Raises:
        PipelineFileError: it is no YAML, or more of it than a pipeline file may hold.

    >>> read_tree("a: [1, 7d, on]", "x.yaml").value
    {'a': [1, '7d', 'on']}
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        what = f"the file has {len(text)} characters; keep it below {TEXT_CHARACTERS_MAX}"
        raise PipelineFileError([Problem(name, 1, 1, "", what)])
    try:
        return _Reader(text, name).read()
    except _Refused as refused:
        mark = refused.event.start_mark
        problem = Problem(
            name, mark.line + 1, mark.column + 1, path_text(refused.path), refused.what
        )
    except YAMLError as error:
        problem = _not_yaml(error, name)
    raise PipelineFileError([problem])


def _not_yaml(error: YAMLError, name: str) -> Problem:
    mark = cast("_Mark | None", error.problem_mark) if isinstance(error, MarkedYAMLError) else None
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = str(error.problem if isinstance(error, MarkedYAMLError) else error).splitlines()[0]
    remedy = "; quote texts that hold : # { [ or begin with a sign, and indent by spaces"
    return Problem(name, line, column, "", f"this is no YAML: {said}{remedy}")


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        self._events = cast("Iterator[_Event]", yaml.parse(text))
        self._tree = Tree(name, None)

    def read(self) -> Tree:
        value: object = None
        documents = 0
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise _Refused(event, (), "a second document begins; keep one per file")
            elif kind not in {"StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"}:
                value = self._value(event, ())
        tree = self._tree
        return Tree(tree.name, value, tree.keys, tree.values, tree.plain)

    def _value(self, event: _Event, path: Path) -> object:
        kind = type(event).__name__
        self._tree.values[path] = _position(event)
        if kind == "AliasEvent":
            raise _Refused(event, path, f"*{event.anchor} is an alias; write the value out")
        if event.tag is not None:
            what = f"{event.tag} is a tag; leave it out, values are told by how they look"
            raise _Refused(event, path, what)
        if event.anchor is not None:
            what = f"&{event.anchor} is an anchor; leave it out and write each value where it is"
            raise _Refused(event, path, what)
        if len(path) > _DEPTH_MAX:
            raise _Refused(event, path[:2], f"nested more than {_DEPTH_MAX} deep; keep it flat")
        if kind == "MappingStartEvent":
            return self._mapping(path)
        if kind == "SequenceStartEvent":
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for event in self._events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._key(event, path)
            if key in found:
                first = self._tree.keys[*path, key].line
                what = f"{value_text(key)} stands twice, first in line {first}; keep one"
                raise _Refused(event, (*path, key), what)
            self._tree.keys[*path, key] = _position(event)
            found[key] = self._value(next(self._events), (*path, key))
        return found

    def _key(self, event: _Event, path: Path) -> str:
        if type(event).__name__ != "ScalarEvent":
            raise _Refused(event, path, "a key must be a text; write name: value")
        if event.value == "<<" and event.style is None:
            raise _Refused(event, path, '"<<" is a merge key; write the fields out')
        return event.value

    def _sequence(self, path: Path) -> list[object]:
        found: list[object] = []
        for event in self._events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            found.append(self._value(event, (*path, len(found))))
        return found

    def _scalar(self, event: _Event, path: Path) -> Scalar:
        if event.style is not None:
            return event.value
        value = _plain(event.value)
        if isinstance(value, str):
            self._tree.plain.add(path)
        return value


def _plain(text: str) -> Scalar:
    """Return what a scalar without quotes means under the core schema."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if text in _INFINITE:
        return _INFINITE[text]
    return float(text) if _FLOAT.fullmatch(text) else text


def _position(event: _Event) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)
