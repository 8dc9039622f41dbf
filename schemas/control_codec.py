"""Control records and versions between bytes and values: JSON, keyed by what they replace."""

from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from batuta.schemas.budget_limit import BudgetLimit
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.model_version import ModelVersion, Pointer
from batuta.schemas.record import Output, Record
from batuta.schemas.topics import CONTROL, VERSIONS

__all__ = [
    "decode_budget_limit",
    "decode_model_version",
    "decode_pointer",
    "encode_budget_limit",
    "encode_model_version",
    "encode_pointer",
]

_POINTER: Final = b"model/"
_BUDGET: Final = b"budget/"

WireT = TypeVar("WireT", bound=BaseModel)


def encode_model_version(version: ModelVersion) -> Output:
    """Write a version, keyed by its pipeline and id."""
    key = f"{version.pipeline}/{version.version_id}".encode()
    return Output(VERSIONS, key, version.model_dump_json().encode())


def decode_model_version(record: Record) -> ModelVersion:
    """Read a version.

    Raises:
        RefusedEventError: it is none that this release can read.
    """
    return _read(record, ModelVersion)


def encode_pointer(pointer: Pointer) -> Output:
    """Write a pointer, keyed by what it replaces."""
    return Output(CONTROL, pointer.control_id.encode(), pointer.model_dump_json().encode())


def decode_pointer(record: Record) -> Pointer | None:
    """Read a pointer; None where the record controls something else.

    Raises:
        RefusedEventError: it is none that this release can read.
    """
    if record.key is None or not record.key.startswith(_POINTER):
        return None
    return _read(record, Pointer)


def encode_budget_limit(limit: BudgetLimit) -> Output:
    """Write a budget's limit, keyed by what it replaces."""
    return Output(CONTROL, limit.control_id.encode(), limit.model_dump_json().encode())


def decode_budget_limit(record: Record) -> BudgetLimit | None:
    """Read a budget's limit; None where the record controls something else.

    Raises:
        RefusedEventError: it is none that this release can read.
    """
    if record.key is None or not record.key.startswith(_BUDGET):
        return None
    return _read(record, BudgetLimit)


def _read(record: Record, kind: type[WireT]) -> WireT:
    try:
        return kind.model_validate_json(record.value or b"")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "/".join(str(part) for part in first["loc"])
        where = f"{record.topic} offset {record.offset}"
        raise RefusedEventError("not_readable", f"{where}: {first['msg']}", path) from None
