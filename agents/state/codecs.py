"""Codecs: how keys and values of a keyed table become bytes and are read back.

A codec is two encodings, one of keys and one of values. Equal values must encode to equal bytes.
An encoding that says it is `immutable` gives things that nobody can change in place: a table then
keeps them as they are, and encodes each once per batch.

    Codec(TEXT, JSON)
    Codec(INT, Packed(">qd", Position))      # Position: a NamedTuple of an int and a float
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any, Final, Generic, Protocol, TypeVar

import orjson

from batuta.schemas.errors import StateCorruptError

__all__ = [
    "INT",
    "JSON",
    "RAW",
    "TEXT",
    "Codec",
    "Encoding",
    "IntEncoding",
    "JsonEncoding",
    "JsonValue",
    "Packed",
    "RawEncoding",
    "TextEncoding",
    "encoder_of_many",
]

JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None

ThingT = TypeVar("ThingT")
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
RowT = TypeVar("RowT", bound=tuple[Any, ...])

_INT: Final = struct.Struct(">Q")
#: Added to a signed number, so that the order of the bytes is the order of the numbers.
_INT_OFFSET: Final = 1 << 63


class Encoding(Protocol[ThingT]):
    """One kind of thing as bytes."""

    def encode(self, thing: ThingT, /) -> bytes:
        """Return the bytes of `thing`."""
        ...

    def decode(self, raw: bytes, /) -> ThingT:
        """Return what `encode` was given.

        Raises:
            StateCorruptError: `encode` never wrote this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Codec(Generic[KeyT, ValueT]):
    """How the keys and how the values of one table are written."""

    keys: Encoding[KeyT]
    values: Encoding[ValueT]


class RawEncoding:
    """Bytes as they are."""

    immutable = True

    def encode(self, thing: bytes, /) -> bytes:
        """Return `thing`."""
        return thing

    def decode(self, raw: bytes, /) -> bytes:
        """Return `raw`."""
        return raw


class TextEncoding:
    """Text as UTF-8."""

    immutable = True

    def encode(self, thing: str, /) -> bytes:
        """Return the text in UTF-8."""
        return thing.encode()

    def decode(self, raw: bytes, /) -> str:
        """Return the text.

        Raises:
            StateCorruptError: it is not UTF-8.
        """
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise StateCorruptError(f"{raw[:32]!r} in the state is no text") from error


class IntEncoding:
    """Signed 64-bit whole numbers; their bytes sort as they do."""

    immutable = True

    def encode(self, thing: int, /) -> bytes:
        """Return eight bytes."""
        return _INT.pack(thing + _INT_OFFSET)

    def decode(self, raw: bytes, /) -> int:
        """Return the number.

        Raises:
            StateCorruptError: these are not eight bytes.
        """
        try:
            number: int = _INT.unpack(raw)[0]
        except struct.error as error:
            raise StateCorruptError(f"{raw[:32]!r} in the state is no whole number") from error
        return number - _INT_OFFSET


class JsonEncoding:
    """Any JSON value; the names of an object are sorted."""

    def encode(self, thing: JsonValue, /) -> bytes:
        """Return the JSON of `thing`."""
        return orjson.dumps(thing, option=orjson.OPT_SORT_KEYS)

    def decode(self, raw: bytes, /) -> JsonValue:
        """Return the value.

        Raises:
            StateCorruptError: it is no JSON.
        """
        try:
            value: JsonValue = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise StateCorruptError(f"a JSON value of the state is damaged: {error}") from error
        return value


class Packed(Generic[RowT]):
    """A named tuple of fixed width, packed by the format of Python's `struct`."""

    immutable = True

    def __init__(self, layout: str, row: Callable[..., RowT]) -> None:
        """Bind the layout of the bytes to the named tuple made of them."""
        assert layout[:1] in "<>!", "say the byte order: the bytes outlive this machine"
        self._layout = layout
        self._struct = struct.Struct(layout)
        self._row = row

    def encode(self, thing: RowT, /) -> bytes:
        """Return the packed fields."""
        return self._struct.pack(*thing)

    def encoder_of_many(self, head: int) -> Callable[[Iterable[RowT]], Iterable[bytes]]:
        """Return what packs many named tuples at once, a byte `head` before each."""
        # No padding stands between what is packed: the layout says its byte order.
        pack = struct.Struct(f"{self._layout[0]}B{self._layout[1:]}").pack
        return partial(starmap, partial(pack, head))

    def decode(self, raw: bytes, /) -> RowT:
        """Return the named tuple.

        Raises:
            StateCorruptError: the width is another one.
        """
        try:
            return self._row(*self._struct.unpack(raw))
        except struct.error as error:
            raise StateCorruptError(
                f"a value of the state has {len(raw)} bytes, not {self._struct.size}"
            ) from error


RAW: Final = RawEncoding()
TEXT: Final = TextEncoding()
INT: Final = IntEncoding()
JSON: Final = JsonEncoding()


def encoder_of_many(
    encoding: Encoding[ThingT], head: int
) -> Callable[[Iterable[ThingT]], Iterable[bytes]]:
    """Return what encodes many things, a byte `head` before each: at once where it can."""
    if isinstance(encoding, Packed):
        return encoding.encoder_of_many(head)
    head_byte, encode = bytes([head]), encoding.encode
    return lambda things: [head_byte + encode(thing) for thing in things]
