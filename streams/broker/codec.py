"""Turns Kafka's messages into frozen dataclasses and back, every version from one declaration.

A message states each field once, with the versions that carry it; a `Codec` is that declaration
compiled for one version. The primitives are aiokafka's. Flexible versions (KIP-482) write compact
lengths and end each structure in tagged fields: unknown ones are skipped, none are sent.
"""

from __future__ import annotations

import struct
import types as python_types
import typing
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Final, Generic, Protocol, TypeAlias, TypeVar, cast

from aiokafka.protocol import types

from batuta.schemas.errors import TheirsError

if TYPE_CHECKING:
    from io import BytesIO

__all__ = [
    "NO_TAGGED_FIELDS",
    "NO_UUID",
    "Boolean",
    "Bytes",
    "Codec",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "MalformedRequestError",
    "NullableBytes",
    "NullableString",
    "String",
    "Uuid",
    "Versions",
    "since",
    "until",
]

M = TypeVar("M")

NO_UUID: Final = bytes(16)
NO_TAGGED_FIELDS: Final = b"\x00"
LAST_VERSION: Final = 32767


class MalformedRequestError(TheirsError):
    """The bytes are not a message of the API and version they claim; the connection closes."""


class _Primitive(Protocol):
    """What aiokafka calls a type: bytes of one value, and the value of some bytes."""

    def encode(self, value: object, /) -> bytes: ...
    def decode(self, data: BytesIO, /) -> object: ...


class _Wire(Protocol):
    """Reads one value from a buffer and writes one onto a list of chunks."""

    def read(self, data: BytesIO) -> object: ...
    def write(self, value: object, chunks: list[bytes]) -> None: ...


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a message that carry a field, both ends included."""

    first: int = 0
    last: int = LAST_VERSION


def since(version: int, last: int = LAST_VERSION) -> Versions:
    """Say that a field came with `version`, and went after `last`."""
    return Versions(version, last)


def until(version: int) -> Versions:
    """Say that a field went after `version`."""
    return Versions(0, version)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a field travels: its primitive in plain and in flexible versions."""

    plain: object
    flexible: object
    nullable: bool = True


class _UuidType:
    """Sixteen raw bytes."""

    def encode(self, value: object) -> bytes:
        return cast("bytes", value)

    def decode(self, data: BytesIO) -> bytes:
        value = data.read(16)
        if len(value) != len(NO_UUID):
            raise ValueError("a UUID is cut short")
        return value


def _same(primitive: object) -> _Kind:
    return _Kind(primitive, primitive)


_STRING = types.String("utf-8")
_COMPACT_STRING = types.CompactString("utf-8")

Int8: TypeAlias = Annotated[int, _same(types.Int8)]
Int16: TypeAlias = Annotated[int, _same(types.Int16)]
Int32: TypeAlias = Annotated[int, _same(types.Int32)]
Int64: TypeAlias = Annotated[int, _same(types.Int64)]
Boolean: TypeAlias = Annotated[bool, _same(types.Boolean)]
Uuid: TypeAlias = Annotated[bytes, _same(_UuidType())]
String: TypeAlias = Annotated[str, _Kind(_STRING, _COMPACT_STRING, nullable=False)]
NullableString: TypeAlias = Annotated[str | None, _Kind(_STRING, _COMPACT_STRING)]
Bytes: TypeAlias = Annotated[bytes, _Kind(types.Bytes, types.CompactBytes, nullable=False)]
NullableBytes: TypeAlias = Annotated[bytes | None, _Kind(types.Bytes, types.CompactBytes)]


class _Leaf:
    """One primitive value."""

    def __init__(self, kind: _Kind, *, flexible: bool) -> None:
        primitive = cast("_Primitive", kind.flexible if flexible else kind.plain)
        self._encode, self._decode, self._nullable = (
            primitive.encode,
            primitive.decode,
            kind.nullable,
        )

    def read(self, data: BytesIO) -> object:
        value = self._decode(data)
        if value is None and not self._nullable:
            raise MalformedRequestError("null where a value is due")
        return value

    def write(self, value: object, chunks: list[bytes]) -> None:
        chunks.append(self._encode(value))


class _Blob(_Leaf):
    """Bytes, written without being copied: record batches are large."""

    def __init__(self, kind: _Kind, *, flexible: bool) -> None:
        super().__init__(kind, flexible=flexible)
        self._flexible = flexible

    def write(self, value: object, chunks: list[bytes]) -> None:
        blob = cast("bytes | None", value)
        if blob is None:
            chunks.append(b"\x00" if self._flexible else b"\xff\xff\xff\xff")
            return
        size = len(blob)
        chunks.append(
            types.UnsignedVarInt32.encode(size + 1) if self._flexible else types.Int32.encode(size)
        )
        chunks.append(blob)


class _Array:
    """A length and that many items; the length cannot exceed what is left to read."""

    def __init__(self, item: _Wire, *, flexible: bool) -> None:
        self._item, self._flexible = item, flexible

    def read(self, data: BytesIO) -> object:
        if self._flexible:
            length = types.UnsignedVarInt32.decode(data) - 1
        else:
            length = types.Int32.decode(data)
        if length < 0:
            return None
        if length > data.getbuffer().nbytes - data.tell():
            raise MalformedRequestError(f"an array of {length} items in a shorter request")
        read = self._item.read
        return tuple(read(data) for _ in range(length))

    def write(self, value: object, chunks: list[bytes]) -> None:
        items = cast("tuple[object, ...] | None", value)
        length = -1 if items is None else len(items)
        chunks.append(
            types.UnsignedVarInt32.encode(length + 1)
            if self._flexible
            else types.Int32.encode(length)
        )
        for item in items or ():
            self._item.write(item, chunks)


class _NonNull:
    """An array that may not be null."""

    def __init__(self, array: _Array) -> None:
        self._array, self.write = array, array.write

    def read(self, data: BytesIO) -> object:
        value = self._array.read(data)
        if value is None:
            raise MalformedRequestError("null where an array is due")
        return value


class Codec(Generic[M]):
    """One message in one version."""

    def __init__(self, message: type[M], version: int, *, flexible: bool) -> None:
        """Compile the declaration.

        Args:
            message: a dataclass whose annotations are the aliases of this module.
            version: the version of the API.
            flexible: whether that version has compact lengths and tagged fields.
        """
        self._message, self._flexible = message, flexible
        self._fields = tuple(_compile_fields(message, version, flexible=flexible))

    def read(self, data: BytesIO) -> M:
        """Read one message; fields this version does not carry keep their default."""
        values = {name: wire.read(data) for name, wire in self._fields}
        if self._flexible:
            types.TaggedFields.decode(data)
        return self._message(**values)

    def write(self, value: object, chunks: list[bytes]) -> None:
        """Append one message, as chunks to be joined."""
        for name, wire in self._fields:
            wire.write(getattr(value, name), chunks)
        if self._flexible:
            chunks.append(NO_TAGGED_FIELDS)

    def decode(self, data: BytesIO) -> M:
        """Read one message from outside.

        Raises:
            MalformedRequestError: the bytes are something else.
        """
        try:
            return self.read(data)
        except (ValueError, struct.error, OverflowError, TypeError) as error:
            raise MalformedRequestError(f"{self._message.__name__}: {error}") from error


def _compile_fields(
    message: type[object], version: int, *, flexible: bool
) -> typing.Iterator[tuple[str, _Wire]]:
    assert is_dataclass(message)
    hints = typing.get_type_hints(message, include_extras=True)
    for field in fields(message):
        hint = hints[field.name]
        carried = _find(hint, Versions) or Versions()
        if carried.first <= version <= carried.last:
            yield field.name, _compile(hint, version, flexible=flexible)


def _find(hint: object, wanted: type[M]) -> M | None:
    extras: tuple[object, ...] = getattr(hint, "__metadata__", ())
    return next((extra for extra in extras if isinstance(extra, wanted)), None)


def _compile(hint: object, version: int, *, flexible: bool) -> _Wire:
    kind = _find(hint, _Kind)
    if kind is not None:
        leaf = _Blob if kind.plain is types.Bytes else _Leaf
        return leaf(kind, flexible=flexible)
    if hasattr(hint, "__metadata__"):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is python_types.UnionType:
        return _compile_array(typing.get_args(hint)[0], version, flexible=flexible)
    if typing.get_origin(hint) is tuple:
        return _NonNull(_compile_array(hint, version, flexible=flexible))
    return Codec(cast("type[object]", hint), version, flexible=flexible)


def _compile_array(hint: object, version: int, *, flexible: bool) -> _Array:
    item = _compile(typing.get_args(hint)[0], version, flexible=flexible)
    return _Array(item, flexible=flexible)
