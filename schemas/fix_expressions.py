"""CEL expressions that mend a dead letter: what they see, and what JSON their answers become.

    event     the event's data as it stands, null where the value is not JSON
    text      the whole value as text, bytes that are not UTF-8 escaped
    key       the record's key as text, "" where there is none
    headers   the record's headers as text
    letter    stage, reason, path, detail, topic, partition, offset of the dead letter

Beside CEL's own functions there are its string extensions: `text.replace(",}", "}")`,
`event.currency.upperAscii()`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from batuta.schemas.errors import RefusedEventError, UsageError
from batuta.schemas.times import rfc3339, time_ms

if TYPE_CHECKING:
    from cel_expr_python import cel

__all__ = ["FIX_FAILED", "Expression"]

#: The reason of a dead letter that a fix could not be applied to.
FIX_FAILED: Final = "fix_failed"

_COMPLAINT: Final = re.compile(r"ERROR: <input>:\d+:(\d+): (.+)")
_CODE: Final = re.compile(r"^[A-Z_]+: ")
_INT_MAX: Final = 2**63 - 1


class Expression:
    """One CEL expression, compiled.

    Args:
        option: where it was given, for messages.
        text: the expression.

    Raises:
        UsageError: it does not compile.

    >>> Expression("--set", "double(event.amount)").answer({"event": {"amount": "12.50"}})
    12.5
    """

    def __init__(self, option: str, text: str) -> None:
        self.option = option
        self.text = text
        try:
            self._compiled = _environment().compile(text)
        except RuntimeError as error:
            raise UsageError(f"{option}: {text!r} is no CEL expression: {_why(error)}") from error

    def answer(self, seen: Mapping[str, object]) -> object:
        """Return the expression's answer as JSON.

        Args:
            seen: what the module's docstring lists, by name.

        Raises:
            RefusedEventError: it fails on these values, or its answer is no JSON.
        """
        given = {name: _fitting(value) for name, value in seen.items()}
        try:
            value = self._compiled.eval(data=given)
        except (RuntimeError, TypeError, ValueError) as error:
            raise self._failed("CEL cannot read this event") from error
        if value.type().name() == "ERROR":
            raise self._failed(_CODE.sub("", str(value.plain_value())))
        return self._json(cast("object", value.plain_value()))

    def _json(self, value: object) -> object:
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, datetime):
            return rfc3339(time_ms(value))
        if isinstance(value, list):
            return [self._json(one) for one in cast("list[object]", value)]
        if isinstance(value, dict):
            members = cast("dict[object, object]", value)
            return {self._name(name): self._json(one) for name, one in members.items()}
        raise self._failed("its answer is nothing that JSON knows")

    def _name(self, name: object) -> str:
        if isinstance(name, str):
            return name
        raise self._failed("its answer has a name that is no text")

    def _failed(self, why: str) -> RefusedEventError:
        return RefusedEventError(FIX_FAILED, f"{self.option} {self.text!r} fails: {why}")


@cache
def _environment() -> "cel.Env":
    from cel_expr_python import cel  # noqa: PLC0415 - 40 MB that only a fix needs
    from cel_expr_python.ext import ext_strings  # noqa: PLC0415

    texts = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
    variables = {
        "event": cel.Type.DYN,
        "text": cel.Type.STRING,
        "key": cel.Type.STRING,
        "headers": texts,
        "letter": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    }
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])


def _why(error: RuntimeError) -> str:
    found = _COMPLAINT.search(str(error))
    return f"{found[2]}, at character {found[1]}" if found else str(error)


def _fitting(value: object) -> object:
    """Return a JSON value as CEL takes it: a whole number beyond 64 bits as a double."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _fitting(one) for name, one in members.items()}
    if isinstance(value, list):
        return [_fitting(one) for one in cast("list[object]", value)]
    if isinstance(value, int) and abs(value) > _INT_MAX:
        return float(value) if value.bit_length() < 1024 else float("inf")  # noqa: PLR2004
    return value
