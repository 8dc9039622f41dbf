"""How our own messages are read: one by one or in batches, validated, by version."""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ValidationError

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Record
from batuta.schemas.refusals import Refused, refusal_of, shown

__all__ = ["Messages", "numbers_of", "read_all", "read_message"]

MessageT = TypeVar("MessageT")
WireT = TypeVar("WireT", bound=BaseModel)


class Messages(NamedTuple, Generic[MessageT]):
    """A batch of messages read: `items` and `refused`, each in batch order."""

    items: list[MessageT]
    refused: list[Refused]


def read_all(decode: Callable[[Record], MessageT], records: Sequence[Record]) -> Messages[MessageT]:
    """Read a batch; a record that `decode` refuses leaves its neighbours as they are."""
    items: list[MessageT] = []
    refused: list[Refused] = []
    for position, record in enumerate(records):
        try:
            items.append(decode(record))
        except RefusedEventError as error:
            refused.append(Refused(position, error.with_traceback(None)))
    return Messages(items, refused)


def read_message(wire: type[WireT], record: Record) -> WireT:
    """Validate one message.

    Raises:
        RefusedEventError: it has no value, a version not known here, or breaks its schema.
    """
    value = record.value
    if value is None:
        raise RefusedEventError("null_value", "the record has no value; a message needs one")
    try:
        return wire.model_validate_json(value)
    except ValidationError as error:
        problem = error
    for found in problem.errors(include_url=False):
        if found["loc"] == ("version",):
            version = "missing" if found["type"] == "missing" else shown(found["input"])
            detail = f"{_known(wire)} read here, but version is {version}"
            raise RefusedEventError("unknown_version", detail, "version")
    raise refusal_of(problem, value)


def _known(wire: type[BaseModel]) -> str:
    """Return which versions a message may have, in words."""
    bounds = wire.model_fields["version"].metadata
    latest = next((bound.le for bound in bounds if hasattr(bound, "le")), 1)
    return "version 1 is" if latest == 1 else f"versions 1 to {latest} are"


def numbers_of(features: Mapping[str, float | None]) -> Mapping[str, float]:
    """Return features as numbers: NaN stands for null, which is how it travels."""
    if None in features.values():
        return {name: nan if value is None else value for name, value in features.items()}
    return cast("Mapping[str, float]", features)
