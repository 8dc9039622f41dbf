"""The checked tree of a CEL expression, read from what cel-expr-python serialises.

The bytes are a `google.protobuf.Any` around a `cel.expr.CheckedExpr` (github.com/google/cel-spec,
proto/cel/expr/checked.proto and syntax.proto). Only what array code and the checks of names need
is read; the numbers below are those files' field numbers.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

__all__ = ["Call", "Constant", "Items", "Name", "Node", "Other", "Select", "read_tree", "walk"]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_ANY_VALUE: Final = 2
_REFERENCES, _EXPRESSION = 2, 4
_REFERENCE_OVERLOAD: Final = 3
_ID, _CONSTANT, _IDENT, _SELECT, _CALL, _LIST = 2, 3, 4, 5, 6, 7
_SIGN: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; None for kinds that array code does not know."""

    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or whether it is there."""

    operand: "Node"
    field: str
    asks_presence: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator; `overload` is empty where the types left it open."""

    overload: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list literal."""

    elements: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A macro that loops (`loops`), or a literal map or message."""

    loops: bool


Node = Constant | Name | Select | Call | Items | Other
_Fields = dict[int, list[int | bytes]]


def read_tree(serialized: bytes) -> Node:
    """Return the tree of a compiled expression."""
    checked = _fields(_bytes(_fields(serialized), _ANY_VALUE))
    overloads: dict[int, str] = {}
    for entry in checked.get(_REFERENCES, []):
        pair = _fields(cast("bytes", entry))
        named = _fields(_bytes(pair, 2)).get(_REFERENCE_OVERLOAD, [])
        if len(named) == 1:
            overloads[_number(pair, 1)] = cast("bytes", named[0]).decode()
    return _node(_bytes(checked, _EXPRESSION), overloads)


def walk(node: Node) -> Iterator[tuple[int, Node]]:
    """Yield every node of a tree with its depth, the root first."""
    waiting = [(1, node)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        parts: tuple[Node, ...] = ()
        if isinstance(node, Select):
            parts = (node.operand,)
        elif isinstance(node, Call):
            parts = node.arguments
        elif isinstance(node, Items):
            parts = node.elements
        waiting += [(depth + 1, part) for part in parts]


def _node(data: bytes, overloads: Mapping[int, str]) -> Node:
    fields = _fields(data)
    if _CONSTANT in fields:
        return Constant(_constant(_bytes(fields, _CONSTANT)))
    if _IDENT in fields:
        return Name(_text(_fields(_bytes(fields, _IDENT)), 1))
    if _SELECT in fields:
        select = _fields(_bytes(fields, _SELECT))
        operand = _node(_bytes(select, 1), overloads)
        return Select(operand, _text(select, 2), bool(_number(select, 3)))
    if _CALL in fields:
        call = _fields(_bytes(fields, _CALL))
        given = [cast("bytes", part) for number in (1, 3) for part in call.get(number, [])]
        arguments = tuple(_node(part, overloads) for part in given)
        return Call(overloads.get(_number(fields, _ID), ""), arguments)
    if _LIST in fields:
        elements = _fields(_bytes(fields, _LIST)).get(1, [])
        return Items(tuple(_node(cast("bytes", part), overloads) for part in elements))
    comprehension = 9
    return Other(loops=comprehension in fields)


def _constant(data: bytes) -> bool | int | float | str | None:
    for kind, values in _fields(data).items():
        value = values[0]
        if kind == 2:  # noqa: PLR2004 - Constant.bool_value
            return bool(value)
        if kind == 3 and isinstance(value, int):  # noqa: PLR2004 - int64_value
            return value - 2 * _SIGN if value >= _SIGN else value
        if kind == 5 and isinstance(value, int):  # noqa: PLR2004 - double_value
            double: float = struct.unpack("<d", value.to_bytes(8, "little"))[0]
            return double
        if kind == 6 and isinstance(value, bytes):  # noqa: PLR2004 - string_value
            return value.decode()
    return None


def _bytes(fields: _Fields, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    assert isinstance(value, bytes), number
    return value


def _text(fields: _Fields, number: int) -> str:
    return _bytes(fields, number).decode()


def _number(fields: _Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    assert isinstance(value, int), number
    return value


def _fields(data: bytes) -> _Fields:
    """Read one protobuf message: field number to its values, in order."""
    found: _Fields = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _FIXED64:
            value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
        else:
            assert wire == _BYTES, f"a protobuf field of wire type {wire}"
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        found.setdefault(number, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
            return value, at
        shift += 7
