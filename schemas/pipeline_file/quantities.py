"""Values with units as a pipeline file writes them: durations, shares, money, texts that name.

Each is a text in the file and a typed value in the model, so that no number stands without its
unit.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from batuta.schemas.pipeline_file.currencies import CURRENCIES
from batuta.schemas.pipeline_file.problems import value_text
from batuta.schemas.times import EARLIEST_MS, parse_rfc3339, rfc3339

__all__ = [
    "DURATION_MS_MAX",
    "EXPRESSION_CHARACTERS_MAX",
    "PROBLEM",
    "Bytes",
    "Duration",
    "Expression",
    "FieldName",
    "Moment",
    "Money",
    "MoneyText",
    "Name",
    "PerHour",
    "Percentage",
    "QueueName",
    "Reference",
    "Sha256",
    "TextShape",
    "duration_text",
]

#: The pydantic error type whose message is already value, problem and remedy.
PROBLEM: Final = "pipeline_file"
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
DURATION_MS_MAX: Final = 366 * _UNITS_MS["d"]
_DURATION: Final = r"^[0-9]{1,12}(ms|s|m|h|d)$"
_PERCENTAGE: Final = r"^[0-9]{1,3}(\.[0-9]{1,6})?%$"
_MONEY: Final = r"^[0-9]{1,12}(\.[0-9]{1,12})? [A-Z]{3}$"
_BYTES: Final = r"^[0-9]{1,9}(B|KiB|MiB)$"
_NAME: Final = r"^[a-z][a-z0-9_]{0,63}$"
_QUEUE: Final = r"^[a-z][a-z0-9_-]{0,63}$"
_PER_HOUR: Final = r"^[1-9][0-9]{0,8}/h$"
_FIELD: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_IMPORTED: Final = r"^[A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}$"
_ENTRY_POINT: Final = r"^[a-z][a-z0-9_.-]{0,63}$"
_SHA256: Final = r"^[0-9a-f]{64}$"
#: What the dead letter topic takes with its headers: a value above it could not be kept.
_BYTES_MAX: Final = 24 * 1_048_576
#: In billionths it still is a number of 64 bits, and nobody means more.
_MONEY_MAX: Final = 1_000_000_000
_BYTES_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1_048_576}
#: An expression is one thought: a longer one belongs into features with names.
EXPRESSION_CHARACTERS_MAX: Final = 1_000


class Money(NamedTuple):
    """An amount of a currency (ISO 4217)."""

    amount: Decimal
    currency: str


def _problem(value: object, what: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError(PROBLEM, "{said}", {"said": f"{value_text(value)} {what}; {remedy}"})


class TextShape:
    """A text of one shape, read into a value.

    Attributes:
        words: what it is, in documents.
    """

    words: str
    shape: str
    what: str
    remedy: str

    def read(self, text: str) -> Any:
        """Return the value of a text of this shape."""
        return text

    def write(self, value: Any) -> str:
        """Return the text of a value."""
        return str(value)

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": self.shape}

    def _validate(self, value: object) -> Any:
        if not isinstance(value, str) or not re.fullmatch(self.shape, value):
            raise _problem(value, self.what, self.remedy)
        return self.read(value)


class _Duration(TextShape):
    words = "a duration"
    shape = _DURATION
    what = "is no duration"
    remedy = "write a number and ms, s, m, h or d, for example 7d"

    def read(self, text: str) -> int:
        count, unit = re.fullmatch(r"([0-9]+)([a-z]+)", text).groups()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        span_ms = int(count) * _UNITS_MS[unit]
        if not 0 < span_ms <= DURATION_MS_MAX:
            raise _problem(text, "is out of range", "write more than 0 and at most 366d")
        return span_ms

    def write(self, value: int) -> str:
        return duration_text(value)


class _Percentage(TextShape):
    words = "a percentage"
    shape = _PERCENTAGE
    what = "is no percentage"
    remedy = "write a number and %, for example 20%"

    def read(self, text: str) -> float:
        share = float(text[:-1]) / 100.0
        if share > 1.0:
            raise _problem(text, "is more than a whole", "write at most 100%")
        return share

    def write(self, value: float) -> str:
        return f"{100.0 * value:g}%"


class _Money(TextShape):
    words = "money"
    shape = _MONEY
    what = "is no amount of money"
    remedy = "write a number, a space and a currency, for example 0.0008 EUR"

    def read(self, text: str) -> Money:
        amount, currency = text.split(" ")
        if currency not in CURRENCIES:
            raise _problem(text, "is in no currency", "write a code of ISO 4217, such as EUR")
        if Decimal(amount) > _MONEY_MAX:
            raise _problem(text, "is out of range", f"write at most {_MONEY_MAX} {currency}")
        return Money(Decimal(amount), currency)

    def write(self, value: Money) -> str:
        return f"{value.amount:f} {value.currency}"


class _Bytes(TextShape):
    words = "a size"
    shape = _BYTES
    what = "is no size"
    remedy = "write a number and B, KiB or MiB, for example 1MiB"

    def read(self, text: str) -> int:
        digits = text.rstrip("BKMi")
        size = int(digits) * _BYTES_UNITS[text[len(digits) :]]
        if not 0 < size <= _BYTES_MAX:
            raise _problem(text, "is out of range", "write more than 0B and at most 24MiB")
        return size

    def write(self, value: int) -> str:
        unit, size = next(
            (unit, size) for unit, size in reversed(_BYTES_UNITS.items()) if value % size == 0
        )
        return f"{value // size}{unit}"


class _Moment(TextShape):
    words = "a moment"
    shape = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(Z|[+-][0-9]{2}:[0-9]{2})$"
    what = "is no moment"
    remedy = "write date, time and zone in quotes, for example '2018-04-01T00:00:00Z'"

    def read(self, text: str) -> int:
        try:
            return max(parse_rfc3339(text), EARLIEST_MS)
        except ValueError:
            raise _problem(text, self.what, self.remedy) from None

    def write(self, value: int) -> str:
        return rfc3339(value)


class _Name(TextShape):
    words = "a name"
    shape = _NAME
    what = "is no name"
    remedy = "write lower case letters, digits and _, beginning with a letter"


class _QueueName(TextShape):
    words = "a name"
    shape = _QUEUE
    what = "is no name of a queue"
    remedy = "write lower case letters, digits, - and _, beginning with a letter"


class PerHour(TextShape):
    """So many an hour, written as `40/h`."""

    words = "a rate"
    shape = _PER_HOUR
    what = "is no rate"
    remedy = "write a number and /h, for example 40/h"

    def read(self, text: str) -> int:
        """Return the number."""
        return int(text.removesuffix("/h"))

    def write(self, value: int) -> str:
        """Return the number as the file writes it."""
        return f"{value}/h"


class _FieldName(TextShape):
    words = "a field"
    shape = _FIELD
    what = "is no field name"
    remedy = "write a field of the schema: letters, digits and _"


class _Reference(TextShape):
    words = "an import path"
    shape = f"{_IMPORTED}|{_ENTRY_POINT}"
    what = "names no part"
    remedy = 'write "package.module:Name", or the name of an entry point'


class _Sha256(TextShape):
    words = "a sha256"
    shape = _SHA256
    what = "is no sha256"
    remedy = "write 64 hex digits, as sha256sum prints them"


class _Expression(TextShape):
    words = "an expression"
    shape = rf"^[\s\S]{{1,{EXPRESSION_CHARACTERS_MAX}}}$"
    what = "is no expression"
    remedy = 'write it in quotes, for example "score > 0.6"'

    def _validate(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise _problem(value, self.what, self.remedy)
        if len(value) > EXPRESSION_CHARACTERS_MAX:
            what = f"has {len(value)} characters"
            remedy = f"keep it within {EXPRESSION_CHARACTERS_MAX} by naming parts in context"
            raise _problem(value, what, remedy)
        return value


#: Milliseconds, written as `20ms`, `30s`, `5m`, `1h`, `7d`.
Duration = Annotated[int, _Duration()]
#: 0 to 1, written as `20%`.
Percentage = Annotated[float, _Percentage()]
#: Written as `0.0008 EUR`.
MoneyText = Annotated[Money, _Money()]
#: Bytes, written as `1MiB`.
Bytes = Annotated[int, _Bytes()]
#: Milliseconds since 1970 UTC, written as RFC 3339.
Moment = Annotated[int, _Moment()]
Name = Annotated[str, _Name()]
#: Of reviewers: a name that may have a dash.
QueueName = Annotated[str, _QueueName()]
FieldName = Annotated[str, _FieldName()]
Reference = Annotated[str, _Reference()]
Sha256 = Annotated[str, _Sha256()]
Expression = Annotated[str, _Expression()]


def duration_text(span_ms: int) -> str:
    """Return a duration as the file writes it, in the largest unit that divides it.

    >>> duration_text(7 * 86_400_000), duration_text(90_000)
    ('7d', '90s')
    """
    unit, unit_ms = next((unit, ms) for unit, ms in _UNITS_MS.items() if span_ms % ms == 0)
    return f"{span_ms // unit_ms}{unit}"
