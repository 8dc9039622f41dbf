"""Fixes: how a dead letter's record is mended, and what a mended one differs in.

The parts of a fix are applied in this order, each to what the one before left:

    encoding   the value is read in another encoding than UTF-8
    headers    set, or removed where the new text is None
    value      a CEL expression gives the whole new data, or as text the whole new value
    patch      a JSON Patch (RFC 6902) of the data
    sets       CEL expressions that each give one field
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from jsonpatch import (
    JsonPatch,
    JsonPatchException,
    JsonPatchTestFailed,
    JsonPointer,
    JsonPointerException,
)

from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.fix_expressions import FIX_FAILED, Expression
from batuta.schemas.letter_value import Opened, open_value
from batuta.schemas.record import Headers, Record

__all__ = ["ABSENT", "Absent", "Change", "Fix", "changes"]


class Absent:
    """What stands in a change where there was, or is, nothing."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()
_WHOLE: Final = "the value is not JSON, so no field of it can be changed; --value gives a new one"


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend records; the module's docstring says what its parts do."""

    encoding: str | None = None
    headers: tuple[tuple[str, str | None], ...] = ()
    value: Expression | None = None
    patch: JsonPatch | None = None
    sets: tuple[tuple[JsonPointer, Expression], ...] = ()

    def apply(self, letter: DeadLetter) -> Record:
        """Return the mended record of a dead letter.

        Raises:
            RefusedEventError: with reason `fix_failed`: a part cannot be applied to it.
        """
        record = letter.record
        if self.encoding is not None:
            record = record._replace(value=_decoded(record.value, self.encoding))
        if self.headers:
            record = record._replace(headers=_with(record.headers, self.headers))
        if self.value is not None:
            record = record._replace(value=_renewed(self.value, letter, record))
        if self.patch is None and not self.sets:
            return record
        return record._replace(value=self._changed(letter, record))

    def _changed(self, letter: DeadLetter, record: Record) -> bytes:
        opened = open_value(record.value, record.headers)
        if opened is None:
            raise RefusedEventError(FIX_FAILED, _WHOLE)
        data = opened.data if self.patch is None else _patched(self.patch, opened.data)
        for pointer, expression in self.sets:
            answer = expression.answer(_seen(letter, record, data))
            data = _set(pointer, data, answer)
        return opened.closed(data)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two records.

    Attributes:
        path: where in the data, names and list positions; empty for the whole value.
        header: the header that differs, None where the value does.
        before, after: JSON, or text of a value that is none; `ABSENT` where there is nothing.
    """

    path: tuple[str | int, ...]
    header: str | None
    before: object
    after: object


def changes(before: Record, after: Record) -> list[Change]:
    """Return what differs between a record and the mended one, in the order it stands there."""
    found = list(_header_changes(dict(before.headers), dict(after.headers)))
    if before.value == after.value:
        return found
    old, new = _opened(before), _opened(after)
    if old is None or new is None:
        return [*found, Change((), None, _shown(before.value), _shown(after.value))]
    return [*found, *_differences((), old.data, new.data)]


def _opened(record: Record) -> Opened | None:
    return open_value(record.value, record.headers)


def _header_changes(old: dict[str, bytes], new: dict[str, bytes]) -> Iterator[Change]:
    for name in {**old, **new}:
        before, after = old.get(name, ABSENT), new.get(name, ABSENT)
        if before != after:
            yield Change((), name, _header(before), _header(after))


def _header(raw: object) -> object:
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw


def _differences(path: tuple[str | int, ...], old: object, new: object) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        befores, afters = cast("dict[str, object]", old), cast("dict[str, object]", new)
        for name in {**befores, **afters}:
            before, after = befores.get(name, ABSENT), afters.get(name, ABSENT)
            yield from _differences((*path, name), before, after)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        both = zip(cast("list[object]", old), cast("list[object]", new), strict=True)
        for number, (before, after) in enumerate(both):
            yield from _differences((*path, number), before, after)
    elif type(old) is not type(new) or repr(old) != repr(new):  # NaN is no other NaN here
        yield Change(path, None, old, new)


def _shown(value: bytes | None) -> object:
    return ABSENT if value is None else value.decode("utf-8", "backslashreplace")


def _decoded(value: bytes | None, encoding: str) -> bytes:
    try:
        return (value or b"").decode(encoding).encode()
    except UnicodeDecodeError as error:
        detail = f"the value is not {encoding} either: {error.reason}"
        raise RefusedEventError(FIX_FAILED, detail) from error


def _with(headers: Headers, news: tuple[tuple[str, str | None], ...]) -> Headers:
    names = {name for name, _ in news}
    kept = tuple(pair for pair in headers if pair[0] not in names)
    return (*kept, *((name, text.encode()) for name, text in news if text is not None))


def _seen(letter: DeadLetter, record: Record, data: object) -> dict[str, object]:
    headers = {name: _shown(raw or b"") for name, raw in record.headers}
    told = {
        "stage": letter.stage,
        "reason": letter.reason,
        "path": letter.path,
        "detail": letter.detail,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    text, key = _shown(record.value or b""), _shown(record.key or b"")
    return {"event": data, "text": text, "key": key, "headers": headers, "letter": told}


def _renewed(expression: Expression, letter: DeadLetter, record: Record) -> bytes:
    opened = _opened(record)
    answer = expression.answer(_seen(letter, record, opened.data if opened else None))
    if isinstance(answer, str):
        return answer.encode("utf-8", "surrogatepass")
    return (opened or Opened(None, None)).closed(answer)


def _patched(patch: JsonPatch, data: object) -> object:
    # Not the library's own sentences: they quote the data.
    try:
        return cast("object", patch.apply(data))
    except JsonPatchTestFailed as error:
        raise RefusedEventError(FIX_FAILED, "a test of the patch does not hold") from error
    except (JsonPatchException, JsonPointerException, TypeError) as error:
        detail = "the patch does not fit this event: a path it names is not there"
        raise RefusedEventError(FIX_FAILED, detail) from error


def _set(pointer: JsonPointer, data: object, answer: object) -> object:
    try:
        return cast("object", pointer.set(data, answer, inplace=False))
    except (JsonPointerException, TypeError, IndexError) as error:
        detail = f"--set {pointer.path[1:]}: nothing that could hold it is there"
        raise RefusedEventError(FIX_FAILED, detail, pointer.path[1:]) from error
