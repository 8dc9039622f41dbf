"""What may stand where in a pipeline file, told from its models."""

from types import UnionType
from typing import Annotated, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batuta.schemas.pipeline_file.check_entries import CheckEntry, VerifyEntry
from batuta.schemas.pipeline_file.entries import FeatureEntry, UnderstandEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path
from batuta.schemas.pipeline_file.remedy_entries import OnFailureEntry, RemedyEntry

__all__ = ["fields_of", "model_at"]


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a model's fields by the key under which they stand in the file."""
    return {declared.alias or name: declared for name, declared in model.model_fields.items()}


def model_at(path: Path) -> type[BaseModel] | None:
    """Return the model of the mapping at `path`, None where something else stands there.

    >>> model_at(("source", "duplicates")).__name__
    'DuplicatesEntry'
    """
    kind: object = PipelineFile
    for part in path:
        kind = _within(kind, part)
    if get_origin(_bare(kind)) is tuple:
        kind = _within(kind, 0)  # one that stands without its dash
    return _model(kind)


def _within(kind: object, part: str | int) -> object:
    model = _model(kind)
    if model is not None:
        if model is VerifyEntry and isinstance(part, int):
            return CheckEntry
        if model is OnFailureEntry and isinstance(part, int):
            return RemedyEntry
        if model is UnderstandEntry and part != "context":
            return FeatureEntry
        declared = fields_of(model).get(str(part))
        return declared.annotation if declared else None
    kind = _bare(kind)
    parts = get_args(kind)
    if get_origin(kind) is dict:
        return cast("object", parts[1])
    return cast("object", parts[0]) if get_origin(kind) is tuple else None


def _model(kind: object) -> type[BaseModel] | None:
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _bare(kind: object) -> object:
    """Return a type without `Annotated` and `| None`."""
    while True:
        if get_origin(kind) is Annotated:
            kind = cast("object", get_args(kind)[0])
        elif get_origin(kind) in {Union, UnionType}:
            kind = next(one for one in get_args(kind) if one is not type(None))
        else:
            return kind
