"""One CEL expression: checked against the names it may use, then answered for whole batches."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NoReturn, cast

import numpy as np

from batuta.agents.policy.array_code import array_code, hour_of, weekday_of
from batuta.agents.policy.checked_tree import Name, Node, Other, Select, read_tree, walk
from batuta.agents.policy.names import HELPERS, Column, Kind, Names, Rows
from batuta.schemas.pipeline_file.problems import did_you_mean
from batuta.schemas.pipeline_file.quantities import EXPRESSION_CHARACTERS_MAX

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cel_expr_python import cel

__all__ = ["DEPTH_MAX", "Expression", "ExpressionError"]

#: How deeply an expression may be nested.
DEPTH_MAX: Final = 24
_KINDS: Final[Mapping[str, Kind]] = {
    "BOOL": "bool",
    "INT": "int",
    "DOUBLE": "double",
    "STRING": "string",
    "TIMESTAMP": "timestamp",
}
_WORDS: Final = {
    "bool": "true or false",
    "int": "a whole number",
    "double": "a number",
    "string": "a text",
    "timestamp": "a moment",
}
_COMPLAINT: Final = re.compile(r"ERROR: <input>:\d+:(\d+): (.+)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']+)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']+)' applied to '\((.*)\)'")
_INT_MAX: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
#: How many compiled expressions are kept; a pipeline has some tens.
_COMPILED_MAX: Final = 512


class ExpressionError(Exception):
    """An expression cannot be used; the message says why and what to write instead."""


class Expression:
    """One expression over a batch.

    Attributes:
        text: as written.
        kind: of its answers.
        names: which names it uses, fields under `event` among them.
        as_arrays: whether it runs as array code.

    >>> from batuta.agents.policy.names import Names
    >>> Expression("score > 0.6", Names({"score": "double"}), ("bool",)).as_arrays
    True
    """

    def __init__(self, text: str, names: Names, kinds: tuple[Kind, ...]) -> None:
        """Compile and check.

        Args:
            text: CEL.
            names: what it may use.
            kinds: which kinds of answer are fit.

        Raises:
            ExpressionError: it does not compile, or answers something else.
        """
        self.text = text
        if len(text) > EXPRESSION_CHARACTERS_MAX:
            raise ExpressionError(f"it has more than {EXPRESSION_CHARACTERS_MAX} characters")
        try:
            # The same rules are opened again and again: by every stage that asks them.
            self._compiled = _compiled(
                text,
                tuple(sorted(names.kinds.items())),
                names.zone,
                (*(("event",) if names.fields else ()), *sorted(names.maps)),
            )
        except RuntimeError as error:
            raise ExpressionError(_why(str(error), names)) from error
        answer = _KINDS.get(self._compiled.return_type().name())
        if answer is None or answer not in kinds:
            found = _WORDS[answer] if answer else self._compiled.return_type().name().lower()
            wanted = " or ".join(_WORDS[kind] for kind in kinds)
            raise ExpressionError(f"its answer is {found}; write one that answers {wanted}")
        self.kind: Kind = answer
        tree = read_tree(self._compiled.serialize())
        self.names = _used(tree, names)
        self._asks_event = any(node == Name("event") for _, node in walk(tree))
        self._fields = _fields_of_maps(tree, names)
        self._code = array_code(tree, names)
        self._kinds = names.kinds
        self.as_arrays = self._code is not None

    def answer(self, rows: Rows) -> Column:
        """Return the answer for each event; `missing` is where there is none."""
        if self._code is None:
            return self.answer_by_cel(rows)
        column = self._code(rows)
        missing = column.missing
        if missing is not None:
            missing = np.broadcast_to(missing, len(rows)) if missing.any() else None
        return Column(np.broadcast_to(column.values, len(rows)), missing)

    def answer_by_cel(self, rows: Rows) -> Column:
        """Return the same answers, one event at a time."""
        plain: dict[str, tuple[list[object], list[bool] | None]] = {}
        for name in (*(self.names & self._kinds.keys()), *self._fields):
            values, missing = rows.column(name)
            plain[name] = (values.tolist(), None if missing is None else missing.tolist())
        answers = [self._one(rows, row, plain) for row in range(len(rows))]
        failed = np.array([answer is None for answer in answers], np.bool_)
        kind = {"bool": np.bool_, "int": np.int64, "double": np.float64}.get(self.kind, np.object_)
        blank = "" if kind is np.object_ else 0
        values = np.array([blank if one is None else one for one in answers], kind)
        return Column(values, failed if failed.any() else None)

    def _one(
        self, rows: Rows, row: int, plain: Mapping[str, tuple[list[object], list[bool] | None]]
    ) -> object:
        """Return one event's answer, None where there is none."""
        given: dict[str, object] = {
            name: _EPOCH + cast("int", values[row]) * _MS
            if self._kinds.get(name) == "timestamp"
            else values[row]
            for name, (values, missing) in plain.items()
            if missing is None or not missing[row]
        }
        if self._asks_event:
            given["event"] = _fitting(rows.payload(row))
        try:
            for name, fields in self._fields.items():
                if name in given:
                    given[name] = _some_of(cast("Mapping[str, object]", given[name]), fields)
            value = self._compiled.eval(data=given)
        except (RuntimeError, TypeError, ValueError, OverflowError):
            # Nested beyond all measure is a RecursionError, which is a RuntimeError.
            return None
        return None if value.type().name() == "ERROR" else cast("object", value.plain_value())


@lru_cache(maxsize=_COMPILED_MAX)
def _compiled(
    text: str, kinds: tuple[tuple[str, Kind], ...], zone: "ZoneInfo", maps: tuple[str, ...]
) -> "cel.Expression":
    """Compile an expression over names of these kinds; it keeps nothing of what it is asked."""
    return _environment(kinds, zone, maps).compile(text)


def _environment(
    kinds: tuple[tuple[str, Kind], ...], zone: "ZoneInfo", maps: tuple[str, ...]
) -> "cel.Env":
    from cel_expr_python import cel  # noqa: PLC0415 - 40 MB that many commands never need
    from cel_expr_python.ext import ext_strings  # noqa: PLC0415

    types = {kind: getattr(cel.Type, kind.upper()) for kind in _WORDS}
    variables = {name: types[kind] for name, kind in kinds}
    for name in maps:
        variables[name] = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    readers = {
        "hour": partial(hour_of, zone=zone),
        "weekday": partial(weekday_of, zone=zone),
    }
    assert readers.keys() == HELPERS.keys(), "a helper without code"
    functions = [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(
                    id=f"{name}_timestamp",
                    return_type=cel.Type.INT,
                    parameters=[cel.Type.TIMESTAMP],
                    is_member=False,
                    impl=reader,
                )
            ],
        )
        for name, reader in readers.items()
    ]
    texts = [ext_strings.ExtStrings()]
    return cel.NewEnv(variables=variables, functions=functions, extensions=texts)


def _used(tree: Node, names: Names) -> frozenset[str]:
    """Return the names a tree uses.

    Raises:
        ExpressionError: it is too deep, loops, or asks the event for a field it cannot have.
    """
    used: set[str] = set()
    for depth, node in walk(tree):
        if depth > DEPTH_MAX:
            raise ExpressionError(
                f"it is nested more than {DEPTH_MAX} deep; name parts of it in context"
            )
        if isinstance(node, Other) and node.loops:
            raise ExpressionError("it loops (all, exists, map, filter); a rule may not")
        if isinstance(node, Name):
            used.add(node.name)
        if isinstance(node, Select) and node.operand == Name("event"):
            if node.field not in names.fields:
                _unknown(node.field, sorted(names.fields), "a field of the event")
            used.add(node.field)
    return frozenset(used)


def _fields_of_maps(tree: Node, names: Names) -> Mapping[str, frozenset[str]]:
    """Return which fields a tree asks of each of the names that have any.

    Raises:
        ExpressionError: it asks for such a name as a whole.
    """
    fields: dict[str, set[str]] = {}
    named = [node.name for _, node in walk(tree) if isinstance(node, Name)]
    for _, node in walk(tree) if names.maps else ():
        if isinstance(node, Select) and isinstance(node.operand, Name):
            name = node.operand.name
            if name in names.maps:
                fields.setdefault(name, set()).add(node.field)
                named.remove(name)
    for name in named:
        if name in names.maps:
            raise ExpressionError(f"{name} is not one value; name a field of it: {name}.FIELD")
    return {name: frozenset(some) for name, some in fields.items()}


def _some_of(value: Mapping[str, object], fields: frozenset[str]) -> dict[str, object]:
    """Return some fields of a mapping as CEL takes them, those that it has."""
    return {field: _fitting(value[field]) for field in fields if field in value}


def _unknown(name: str, known: list[str], what: str) -> NoReturn:
    raise ExpressionError(f"{name} is not {what}; {did_you_mean(name, known)}")


def _why(said: str, names: Names) -> str:
    found = _COMPLAINT.search(said)
    if found is None:
        if "recursion limit" in said:
            return "it is nested too deeply; name parts of it in context"
        return f"CEL says: {said.splitlines()[0]}"
    at, complaint = found[1], found[2]
    if undeclared := _UNDECLARED.search(complaint):
        return _undeclared(undeclared[1], names)
    if overload := _OVERLOAD.search(complaint):
        return _overload(overload[1], overload[2], at)
    if complaint.startswith("Syntax error"):
        remedy = "write && for and, || for or, ! for not, == for equal"
        return f"it does not parse at character {at}; {remedy}"
    return f"{complaint}, at character {at}; docs/pipeline-file.md has what expressions may hold"


def _undeclared(name: str, names: Names) -> str:
    parts = names.groups.get(name)
    if parts is not None:
        return f"{name} is a group of features; name one of them: {', '.join(parts)}"
    if name in names.fields:
        return f"the field {name} is no number, text, moment or truth; write event.{name}"
    known = [*names.kinds, *names.groups, *names.maps, *HELPERS]
    return f"{name} is no name here; {did_you_mean(name, known)}"


def _overload(operator: str, applied: str, at: str) -> str:
    shown = operator.replace("_", " ").strip()
    what = f"{shown} does not take ({applied}), at character {at}"
    if applied in {"double, int", "int, double"}:
        double_first = applied == "double, int"
        where = "the right" if double_first else "the left"
        return f"{what}; write the number on {where} with a point, 1.0 not 1, or double(...)"
    return f"{what}; make both sides of one kind"


def _fitting(value: object) -> object:
    """Return a JSON value as CEL takes it: a whole number beyond 64 bits as a double."""
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {name: _fitting(one) for name, one in members.items()}
    if isinstance(value, list):
        return [_fitting(one) for one in cast("list[object]", value)]
    if isinstance(value, int) and abs(value) > _INT_MAX:
        return float(value) if value.bit_length() < 1024 else float("inf")  # noqa: PLR2004
    return value
