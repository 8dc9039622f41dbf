"""What a pipeline file may hold, for editors and for people: JSON Schema, and rows of tables."""

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Final, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batuta.schemas.pipeline_file import entries
from batuta.schemas.pipeline_file.budget_entries import BudgetEntry
from batuta.schemas.pipeline_file.check_entries import CheckEntry, VerifyEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.guarding import BreakerEntry, BulkheadEntry, RetryEntry
from batuta.schemas.pipeline_file.plan_entries import (
    NarrowEntry,
    PlanEntry,
    PlannerEntry,
    SelectEntry,
)
from batuta.schemas.pipeline_file.problems import value_text
from batuta.schemas.pipeline_file.quantities import TextShape
from batuta.schemas.pipeline_file.remedy_entries import OnFailureEntry, RemedyEntry
from batuta.schemas.pipeline_file.serving import BatchEntry, PricesEntry
from batuta.schemas.pipeline_file.shape import fields_of

__all__ = ["SECTIONS", "file_schema", "rows_of"]

#: The mappings of a file, by how a reader finds them.
SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "the file": PipelineFile,
    "source": entries.SourceEntry,
    "source.duplicates": entries.DuplicatesEntry,
    "source.lateness": entries.LatenessEntry,
    "understand[].NAME": entries.FeatureEntry,
    "understand[].NAME.share": entries.ShareEntry,
    "models.NAME": entries.ModelEntry,
    "models.NAME.breaker": BreakerEntry,
    "models.NAME.bulkhead": BulkheadEntry,
    "models.NAME.retry": RetryEntry,
    "models.NAME.batch": BatchEntry,
    "models.NAME.prices": PricesEntry,
    "plans.NAME": PlanEntry,
    "select": SelectEntry,
    "select.rules[]": NarrowEntry,
    "select.planner": PlannerEntry,
    "verify": VerifyEntry,
    "verify.check[]": CheckEntry,
    "verify.on_failure": OnFailureEntry,
    "verify.on_failure.remedies[]": RemedyEntry,
    "budget[]": BudgetEntry,
    "decide[]": entries.DecideEntry,
    "actions.NAME": entries.ActionEntry,
    "escalate": entries.EscalateEntry,
    "notify[]": entries.NotifyEntry,
    "labels": entries.LabelsEntry,
    "any part": entries.PartEntry,
}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WORDS: Final[dict[object, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    object: "anything",
}


def file_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a pipeline file.

    >>> file_schema()["title"]
    'batuta pipeline'
    """
    return {
        "$schema": _DIALECT,
        "$id": "urn:batuta:pipeline-file:v1",
        **PipelineFile.model_json_schema(mode="validation"),
    }


def rows_of(model: type[BaseModel]) -> list[str]:
    """Return the rows of a table about the keys of one mapping.

    >>> rows_of(NarrowEntry)[1]
    '| `among` | list: a name | needed | plans |'
    """
    return [
        f"| `{key}` | {_words(declared)} | {_default(declared)} | {declared.description} |"
        for key, declared in fields_of(model).items()
    ]


def _words(declared: FieldInfo) -> str:
    return _told(declared.metadata) or _kind(declared.annotation)


def _told(metadata: Iterable[object]) -> str:
    return next((one.words for one in metadata if isinstance(one, TextShape)), "")


def _kind(kind: object) -> str:
    """Return what a type is in the words of a reader."""
    origin, parts = get_origin(kind), cast("tuple[object, ...]", get_args(kind))
    if origin is Annotated:
        return _told(parts[1:]) or _kind(parts[0])
    if origin in {Union, UnionType}:
        return _kind(next(one for one in parts if one is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in parts)
    if origin in {tuple, dict}:
        return f"list: {_kind(parts[0])}" if origin is tuple else f"mapping: {_kind(parts[1])}"
    return _WORDS.get(kind, "a part" if kind is entries.PartEntry else "a mapping")


def _default(declared: FieldInfo) -> str:
    if declared.is_required():
        return "needed"
    default: object = declared.get_default()
    if default is None or default in ({}, (), "") or isinstance(default, BaseModel):
        return ""
    shapes = [one for one in declared.metadata if isinstance(one, TextShape)]
    written = shapes[0].write(default) if shapes else default
    return f"`{written}`" if isinstance(written, str) else f"`{value_text(written)}`"
