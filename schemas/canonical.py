"""Canonical JSON of validated data: known fields only, in the schema's order, nulls left out.

A batch is written in one call: a call per event costs six times as much, most of it in the
allocator.
"""

from collections.abc import Sequence
from datetime import datetime
from types import NoneType
from typing import Annotated, Final, Literal, get_args, get_origin

import orjson
from pydantic import BaseModel, PlainSerializer, WrapSerializer

from batuta.schemas.json_rows import json_rows

__all__ = ["Canonical"]

_PLAIN: Final = (str, int, float, bool, datetime, NoneType)


class Canonical:
    """Writes the data of one model.

    Attributes:
        plain: whether its fields are texts, numbers, truth values and times, nothing nested.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._serializer = model.__pydantic_serializer__
        self.plain = _is_plain(model)
        self._optional = tuple(
            name for name, declared in model.model_fields.items() if not declared.is_required()
        )

    def write(self, batch: Sequence[BaseModel]) -> list[bytes]:
        """Return one JSON object per model, in order."""
        if not batch:
            return []
        if not self.plain:
            return [self._write_any(data) for data in batch]
        try:
            return self._write_plain(batch)
        except TypeError:  # a whole number beyond 64 bits, which orjson does not write
            if len(batch) == 1:
                return [self._write_any(batch[0])]
        # One by one, so that the form of an event never depends on its neighbours.
        return [self.write([data])[0] for data in batch]

    def _write_any(self, data: BaseModel) -> bytes:
        return self._serializer.to_json(data, exclude_none=True, by_alias=True)

    def _write_plain(self, batch: Sequence[BaseModel]) -> list[bytes]:
        optional = self._optional
        rows: list[object] = []
        for data in batch:
            fields = data.__dict__.copy()
            for name in optional:
                if fields[name] is None:
                    del fields[name]
            rows.append(fields)
        return json_rows(rows, orjson.OPT_UTC_Z)


def _is_plain(model: type[BaseModel]) -> bool:
    decorators = model.__pydantic_decorators__
    if decorators.field_serializers or decorators.model_serializers or decorators.computed_fields:
        return False
    if model.model_config.get("extra") == "allow" or model.__pydantic_root_model__:
        return False
    return all(
        _is_plain_type(declared.annotation)
        and not declared.exclude
        and declared.alias is None
        and declared.serialization_alias is None
        and not any(isinstance(m, PlainSerializer | WrapSerializer) for m in declared.metadata)
        for declared in model.model_fields.values()
    )


def _is_plain_type(annotation: object) -> bool:
    if isinstance(annotation, type):
        return annotation in _PLAIN
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        serialised = any(isinstance(part, PlainSerializer | WrapSerializer) for part in parts[1:])
        return not serialised and _is_plain_type(parts[0])
    if get_origin(annotation) is Literal:
        return all(isinstance(part, str | int | bool) for part in parts)
    return bool(parts) and all(_is_plain_type(part) for part in parts)
