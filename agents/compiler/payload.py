"""What a payload schema's fields are, as the compiler needs to know them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import UnionType
from typing import Annotated, Final, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batuta.agents.policy.names import Kind

__all__ = ["PayloadField", "fields_of"]

_KINDS: Final[Mapping[object, Kind]] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    datetime: "timestamp",
}


@dataclass(frozen=True, slots=True)
class PayloadField:
    """One field of the payload.

    Attributes:
        kind: None where it is no plain value.
        optional: whether an event may lack it.
        least, most: its bounds, None where it has none.
    """

    kind: Kind | None
    optional: bool
    least: float | None = None
    most: float | None = None


def fields_of(model: type[BaseModel]) -> dict[str, PayloadField]:
    """Return the fields of a payload's model.

    >>> from batuta.schemas.fraud import Transaction
    >>> fields_of(Transaction)["lat"]
    PayloadField(kind='double', optional=True, least=-90.0, most=90.0)
    """
    return {name: _field(declared) for name, declared in model.model_fields.items()}


def _field(declared: FieldInfo) -> PayloadField:
    kind, nullable, metadata = _bare(declared.annotation)
    bounds = [*metadata, *declared.metadata]
    return PayloadField(
        kind=_kind(kind),
        optional=nullable or not declared.is_required(),
        least=_bound(bounds, ("ge", "gt")),
        most=_bound(bounds, ("le", "lt")),
    )


def _bare(kind: object) -> tuple[object, bool, list[object]]:
    """Return a type without `Annotated` and `| None`, whether it had that, and its metadata."""
    metadata: list[object] = []
    nullable = False
    while True:
        origin, parts = get_origin(kind), cast("tuple[object, ...]", get_args(kind))
        if origin is Annotated:
            kind = parts[0]
            metadata += parts[1:]
        elif origin in {Union, UnionType} and len(parts) == 2 and type(None) in parts:  # noqa: PLR2004
            nullable = True
            kind = next(one for one in parts if one is not type(None))
        else:
            return kind, nullable, metadata


def _kind(kind: object) -> Kind | None:
    if get_origin(kind) is Literal:
        return "string" if all(isinstance(one, str) for one in get_args(kind)) else None
    return _KINDS.get(kind) if isinstance(kind, type) else None


def _bound(metadata: Iterable[object], names: tuple[str, ...]) -> float | None:
    for one in metadata:
        nested = one.metadata if isinstance(one, FieldInfo) else [one]
        for rule in nested:
            for name in names:
                value: object = getattr(rule, name, None)
                if isinstance(value, int | float):
                    return float(value)
    return None
