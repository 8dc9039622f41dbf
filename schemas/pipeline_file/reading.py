"""From the text of a pipeline file to its typed form, or to every problem it has."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batuta.schemas.pipeline_file.check_places import check_places
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.price_list import priced, read_price_list
from batuta.schemas.pipeline_file.problems import (
    Path,
    PipelineFileError,
    Problem,
    did_you_mean,
    value_text,
)
from batuta.schemas.pipeline_file.quantities import PROBLEM
from batuta.schemas.pipeline_file.shape import fields_of, model_at
from batuta.schemas.pipeline_file.yaml_tree import Tree, read_tree

__all__ = ["Document", "read_document"]

_EXPECTED: Final = {
    "string_type": ("is no text", "write it in quotes"),
    "int_type": ("is no whole number", "write digits without quotes and without unit"),
    "int_from_float": ("is no whole number", "write digits without quotes and without unit"),
    "bool_type": ("is no truth value", "YAML 1.2 writes true or false, without quotes"),
    "tuple_type": ("is no list", "write [a, b], or a line with a dash per item"),
    "dict_type": ("is no mapping", "write name: value lines, or {name: value}"),
    "model_type": ("is no mapping", "write name: value lines, or {name: value}"),
    "model_attributes_type": ("is no mapping", "write name: value lines, or {name: value}"),
}
_BOUNDS: Final = {
    "too_short": ("holds too little", "at least", "min_length"),
    "string_too_short": ("holds too little", "at least", "min_length"),
    "too_long": ("is too long", "at most", "max_length"),
    "string_too_long": ("is too long", "at most", "max_length"),
    "greater_than": ("is out of range", "more than", "gt"),
    "greater_than_equal": ("is out of range", "at least", "ge"),
    "less_than": ("is out of range", "less than", "lt"),
    "less_than_equal": ("is out of range", "at most", "le"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """A pipeline file that was read: what it says, and where it says it."""

    tree: Tree
    file: PipelineFile

    def problem(self, path: Path, what: str, *, key: bool = False) -> Problem:
        """Return a problem at a path of this file."""
        return self.tree.problem(path, what, key=key)


def read_document(text: str, name: str, beside: Callable[[str], str] | None = None) -> Document:
    """Read a pipeline file.

    Args:
        text: its text.
        name: what messages call it.
        beside: reads a file that it names; None where nobody does.

    Raises:
        PipelineFileError: every problem found, one line each.
    """
    tree = read_tree(text, name)
    if not isinstance(tree.value, dict):
        remedy = "write name: value lines, beginning with pipeline: NAME"
        what = f"{value_text(tree.value)} is no mapping; {remedy}"
        raise PipelineFileError([tree.problem((), what)])
    value = tree.value if beside is None else _with_prices(tree, beside)
    try:
        file = PipelineFile.model_validate(value)
    except ValidationError as error:
        found = [_problem(tree, one) for one in _roots(error.errors(include_url=False))]
    else:
        found = _unquoted(tree, file)
        if not found:
            return Document(tree, file)
    raise PipelineFileError(found)


def _with_prices(tree: Tree, beside: Callable[[str], str]) -> object:
    """Return what a file says, with the prices of the list that it names.

    Raises:
        PipelineFileError: the list cannot be read, or names no price of a model.
    """
    value = cast("dict[str, object]", tree.value)
    name = value.get("price_list")
    if not isinstance(name, str):
        return value
    try:
        text = beside(name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        what = f"{value_text(name)} cannot be read ({why}); name a price list beside this file"
        raise PipelineFileError([tree.problem(("price_list",), what)]) from error
    return priced(tree, read_price_list(text, name), name)


def _roots(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list holds too little where only its items are wrong."""
    inner = {one["loc"][:end] for one in errors for end in range(len(one["loc"]))}
    return [one for one in errors if one["type"] != "too_short" or one["loc"] not in inner]


def _problem(tree: Tree, error: ErrorDetails) -> Problem:
    kind, path = error["type"], _path_in(tree.value, error["loc"])
    if kind == "missing":
        return tree.problem(path, _missing(path), key=True)
    if kind == "extra_forbidden":
        model = model_at(path[:-1])
        known = list(fields_of(model)) if model else []
        remedy = did_you_mean(str(path[-1]), known, what="known here")
        return tree.problem(path, f"{value_text(path[-1])} is no key here; {remedy}", key=True)
    named = error["loc"][-1:] == ("[key]",)
    value = path[len(path) - 1] if named else error["input"]
    return tree.problem(path, _sentence(error, value), key=named)


def _missing(path: Path) -> str:
    *above, name = path
    model = model_at(tuple(above))
    declared = fields_of(model).get(str(name)) if model else None
    means = f" ({declared.description})" if declared and declared.description else ""
    where = f" under {above[-1]}" if above else ""
    return f'nothing is given, but it is needed; add "{name}: ..."{where}{means}'


def _sentence(error: ErrorDetails, value: object) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == PROBLEM:
        return error["msg"]
    shown = value_text(value)
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(context["expected"]))
        remedy = did_you_mean(value, known) if isinstance(value, str) else f"known: {known}"
        return f"{shown} is not known here; {remedy}"
    if kind in _EXPECTED:
        what, remedy = _EXPECTED[kind]
        return f"{shown} {what}; {remedy}"
    if kind in _BOUNDS:
        what, relation, bound = _BOUNDS[kind]
        return f"{shown} {what}; write {relation} {context[bound]}"
    return f"{shown} is refused: {error['msg']}; see docs/pipeline-file.md"


def _path_in(value: object, location: tuple[str | int, ...]) -> Path:
    """Return pydantic's location as a path of the file: without the steps only pydantic sees."""
    path: list[str | int] = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if isinstance(value, dict):
            if part in value:
                value = value[part]
                path.append(part)
            elif last and part != "[key]":
                path.append(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
            path.append(part)
    return tuple(path)


def _unquoted(tree: Tree, file: PipelineFile) -> list[Problem]:
    """Return the expressions without quotes: YAML would read `#`, `: ` and `{` its own way."""
    contexts = [
        ("understand", number, "context", name)
        for number, entry in enumerate(file.understand)
        for name in entry.context or {}
    ]
    rules = [
        (section, number, "when")
        for section, entries in (("decide", file.decide), ("notify", file.notify))
        for number in range(len(entries))
    ]
    narrows = [
        ("select", "rules", number, "when")
        for number in range(len(file.select.rules) if file.select else 0)
    ]
    checks = [
        path if path in tree.plain else (*path, "rule")
        for path, entry in check_places(file, tree.value)
        if entry.rule is not None
    ]
    paths: list[Path] = [*checks, *contexts, *rules, *narrows, *_stops(tree.value)]
    return [
        tree.problem(path, f"{value_text(_at(tree.value, path))} has no quotes; put it in quotes")
        for path in paths
        if path in tree.plain
    ]


def _stops(value: object) -> list[Path]:
    """Return where the plans of a file say when to stop."""
    found: list[Path] = []
    left: list[Path] = [("plans",)]
    plans = value.get("plans") if isinstance(value, dict) else None
    values: dict[Path, object] = {("plans",): plans}
    while left:
        path = left.pop()
        inner = values[path]
        parts: list[tuple[str | int, object]] = []
        if isinstance(inner, dict):
            parts = list(cast("dict[str | int, object]", inner).items())
        elif isinstance(inner, list):
            parts = list(enumerate(cast("list[object]", inner)))
        for key, part in parts:
            values[*path, key] = part
            (found if key == "stop" else left).append((*path, key))
    return found


def _at(value: object, path: Path) -> object:
    for part in path:
        value = value[part]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    return value
