"""The options of `deadletters fix`, read: what is to be done to each dead letter."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from jsonpatch import JsonPatch, JsonPointer

    from batuta.schemas.fix_expressions import Expression
    from batuta.schemas.fixes import Fix

__all__ = ["FixOptions", "read_fix"]


@dataclass(frozen=True)
class FixOptions:
    """The options as they were given."""

    sets: list[str] | None
    patch: str | None
    value: str | None
    encoding: str | None
    headers: list[str] | None
    drop_headers: list[str] | None


def read_fix(options: FixOptions) -> "Fix":
    """Return the fix that the options describe.

    Raises:
        UsageError: an option cannot be read, or there is none; the message says which.
    """
    from batuta.schemas.fix_expressions import Expression
    from batuta.schemas.fixes import Fix

    fix = Fix(
        encoding=_encoding(options.encoding),
        headers=tuple(_header(text) for text in options.headers or ())
        + tuple((name, None) for name in options.drop_headers or ()),
        value=None if options.value is None else Expression("--value", options.value),
        patch=None if options.patch is None else _patch(options.patch),
        sets=tuple(_set(text) for text in options.sets or ()),
    )
    if fix == Fix():
        raise UsageError(
            "nothing to fix with: give --set FIELD=CEL, --patch, --value, --encoding, --header or "
            "--drop-header; `batuta deadletters redrive` redrives unchanged"
        )
    return fix


def _set(text: str) -> "tuple[JsonPointer, Expression]":
    from jsonpatch import JsonPointer, JsonPointerException

    from batuta.schemas.fix_expressions import Expression

    path, equals, expression = text.partition("=")
    if not (path and equals and expression):
        raise UsageError(
            f"--set {text!r} is not FIELD=CEL: expected such as amount='double(event.amount)'"
        )
    try:
        pointer = JsonPointer(f"/{path}")
    except JsonPointerException as error:
        raise UsageError(f"--set {path!r} is no path: {error}; expected lines/0/amount") from error
    return pointer, Expression(f"--set {path}", expression)


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--header {text!r} is not NAME=TEXT: expected ce_type=payment.v1")
    return name, value


def _encoding(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        with suppress(UnicodeError):
            b" ".decode(name)
    except LookupError as error:  # also of codecs that are not about text
        raise UsageError(f"--encoding {name!r} is none: expected latin-1, cp1252, ...") from error
    return name


def _patch(given: str) -> "JsonPatch":
    from jsonpatch import JsonPatch, JsonPatchException, JsonPointerException

    text = given
    if not given.lstrip().startswith("["):
        try:
            text = Path(given).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--patch {given!r} is neither a JSON Patch nor a file that can be read: {error}"
            ) from error
    try:
        return JsonPatch.from_string(text)
    except (JsonPatchException, JsonPointerException, ValueError, TypeError) as error:
        raise UsageError(
            f"--patch is no JSON Patch (RFC 6902): {error}; expected such as "
            '[{"op": "move", "from": "/amt", "path": "/amount"}]'
        ) from error
