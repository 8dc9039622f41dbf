"""Personal fields: what a model declares to be about a person, and so is never printed.

card_id: Annotated[str, Field(json_schema_extra={"personal": True}, repr=False)]
"""

from functools import cache
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["personal_fields"]


@cache
def personal_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the paths of a model's personal fields.

    Returns:
        Names as they stand in JSON; those of nested models as `parent/child`, also within lists.
    """
    return frozenset(_paths(model, "", frozenset()))


def _paths(model: type[BaseModel], prefix: str, seen: frozenset[type[BaseModel]]) -> list[str]:
    paths: list[str] = []
    for name, declared in model.model_fields.items():
        path = prefix + (declared.alias or name)
        if _is_personal(declared):
            paths.append(path)
        for nested in _models(declared.annotation):
            if nested not in seen:
                paths += _paths(nested, f"{path}/", seen | {model})
    return paths


def _is_personal(declared: FieldInfo) -> bool:
    extra = declared.json_schema_extra
    return isinstance(extra, dict) and extra.get("personal") is True


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
