"""Why a record is refused: stable reason codes, and sentences that a person understands.

A sentence names the field, what was expected and what came instead. What came is cut to
`SHOWN_LENGTH_MAX` characters, and of a personal field only its kind and length are told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict, cast

from pydantic import ValidationError

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.times import BAD_TIME

__all__ = ["REASONS", "SHOWN_LENGTH_MAX", "Refused", "cut", "not_json", "refusal_of", "shown"]

#: Every reason a record can be refused for at the door, and what it means.
REASONS: Final[Mapping[str, str]] = {
    "null_value": "the record has no value",
    "too_large": "the value is larger than the pipeline accepts",
    "bad_utf8": "the value is not UTF-8",
    "not_json": "the value is not JSON",
    "too_deep": "the JSON is nested too deeply",
    "not_object": "the JSON is not an object",
    "missing_field": "a required field is missing",
    "unknown_field": "a field the schema does not know, in a strict pipeline",
    "wrong_type": "a field has another JSON type than the schema says",
    "not_finite": "a number is NaN, infinite or too large for a double",
    "bad_value": "a field has the right type but a value outside its bounds",
    "bad_time": "a time is not RFC 3339 with a zone",
    "absurd_time": "the event time lies before or after what the pipeline accepts",
    "bad_specversion": "the CloudEvents version is not 1.0",
    "missing_attribute": "a required CloudEvents attribute is missing",
    "bad_attribute": "a CloudEvents attribute has a value it must not have",
    "bad_content_type": "the content type is not JSON",
    "bad_data": "a structured CloudEvent carries no data, or data that cannot be read",
    "unknown_version": "the message has a version this reader does not know",
}

#: How many characters of a refused value a sentence shows.
SHOWN_LENGTH_MAX: Final = 80

_WRONG_TYPE: Final = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "datetime_type": "a date and time with zone, as text",
    "date_type": "a date, as text",
    "none_required": "null",
}
_FIXED: Final = {
    "missing": ("missing_field", "is missing"),
    "extra_forbidden": ("unknown_field", "is not in the schema, and the pipeline is strict"),
    "finite_number": ("not_finite", "must be a finite number, not NaN, infinite or beyond 1e308"),
}
_TIME_ERRORS: Final = frozenset(
    (BAD_TIME, "datetime_parsing", "datetime_from_date_parsing", "timezone_aware")
)
_NAIVE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt _]\d\d:\d\d(:\d\d(\.\d+)?)?")
_SHOULD: Final = re.compile(r"^[A-Z]\w* should ")


class _Problem(TypedDict):
    """One of pydantic's error details."""

    type: str
    loc: tuple[int | str, ...]
    msg: str
    input: object


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that did not decode: its index in the batch, and why."""

    position: int
    error: RefusedEventError


def refusal_of(
    error: ValidationError, payload: bytes, personal: frozenset[str] = frozenset()
) -> RefusedEventError:
    """Turn the first of a payload's validation errors into a refusal.

    Args:
        error: what pydantic found, in schema order.
        payload: the bytes that were validated.
        personal: paths of fields whose values no sentence may show.
    """
    problem = cast("_Problem", error.errors(include_url=False, include_context=False)[0])
    if problem["type"] == "json_invalid":
        return not_json(problem["msg"], payload)
    where = problem["loc"]
    if not where:
        return _whole(problem, personal)
    path = "/".join(_escaped(str(part)) for part in where)
    secret = _declared(where) in personal
    reason, sentence = _field_problem(problem, secret=secret)
    return RefusedEventError(reason, f"{cut(path)} {sentence}", path)


def shown(value: object, *, secret: bool = False) -> str:
    """Describe a JSON value in a few words, at most `SHOWN_LENGTH_MAX` characters of it.

    >>> shown("12.50"), shown("12.50", secret=True), shown([1, 2])
    ("the text '12.50'", 'a text of 5 characters', 'a list')
    """
    if isinstance(value, str):
        return f"a text of {len(value)} characters" if secret else f"the text '{cut(value)}'"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "a truth value" if secret else str(value).lower()
    return "a number" if secret else f"the number {_number(value)}"


def cut(text: str) -> str:
    """Return `text`, printable and bounded."""
    head = text[: SHOWN_LENGTH_MAX + 1]
    plain = head if head.isprintable() else ascii(head)[1:-1]
    return plain if len(plain) <= SHOWN_LENGTH_MAX else f"{plain[:SHOWN_LENGTH_MAX]}..."


def _number(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 8 * SHOWN_LENGTH_MAX:
        return f"of {value.bit_length()} bits"  # str() of a huge int costs or raises
    return cut(str(value))


def not_json(message: str, payload: bytes) -> RefusedEventError:
    """Refuse a payload that no JSON parser reads, given what the parser said."""
    if not payload:
        return RefusedEventError("not_json", "the value is empty, not a JSON object")
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        detail = f"the value is not UTF-8: byte {error.start} is 0x{payload[error.start]:02x}"
        return RefusedEventError("bad_utf8", detail)
    why = message.removeprefix("Invalid JSON: ")
    if "recursion limit" in why:
        return RefusedEventError("too_deep", f"the JSON is nested too deeply: {why}")
    return RefusedEventError("not_json", f"the value is not JSON: {why}")


def _whole(problem: _Problem, personal: frozenset[str]) -> RefusedEventError:
    if problem["type"] in {"model_type", "dict_type"}:
        kind = shown(problem["input"], secret=True)
        return RefusedEventError("not_object", f"the value must be a JSON object, but is {kind}")
    rule = problem["msg"].removeprefix("Value error, ")
    return RefusedEventError(
        "bad_value", f"the event is refused: {_masked(rule, problem, personal)}"
    )


def _masked(message: str, problem: _Problem, personal: frozenset[str]) -> str:
    fields = problem["input"]
    if personal and not isinstance(fields, dict):
        return "a rule of its schema does not hold"
    if isinstance(fields, dict):
        values = cast("dict[str, object]", fields)
        for name in personal:
            message = message.replace(str(values.get(name) or name), name)
    return cut(message)


def _field_problem(problem: _Problem, *, secret: bool) -> tuple[str, str]:
    kind, value = problem["type"], problem["input"]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _TIME_ERRORS:
        return _time_problem(value, secret=secret)
    came = shown(value, secret=secret)
    if kind in _WRONG_TYPE:
        return "wrong_type", f"must be {_WRONG_TYPE[kind]}, but is {came}"
    if kind.endswith("_type"):
        return "wrong_type", f"has the wrong type: {came}"
    return "bad_value", f"{_rule(problem, secret=secret)}, but is {came}"


def _rule(problem: _Problem, *, secret: bool) -> str:
    message, found = _SHOULD.subn("must ", problem["msg"])
    if found:
        return message
    # Other messages may quote the value.
    return "must hold to the schema" if secret else f"is refused: {cut(message)}"


def _time_problem(value: object, *, secret: bool) -> tuple[str, str]:
    if not isinstance(value, str):
        return "wrong_type", f"must be a time as text, but is {shown(value, secret=secret)}"
    if _NAIVE.fullmatch(value):
        return "bad_time", f"has no time zone: {shown(value, secret=secret)}; add Z or +02:00"
    expected = "must be a time as in RFC 3339, such as 2018-04-01T10:17:43Z"
    return "bad_time", f"{expected}, but is {shown(value, secret=secret)}"


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _declared(where: tuple[int | str, ...]) -> str:
    return "/".join(part for part in where if isinstance(part, str))
