"""What stands under `on_failure`: what is tried when a checkpoint has not let an answer pass.

A list of remedies stands for `remedies` alone; `retry` in short for `{retry: 1}`.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batuta.schemas.pipeline_file.problems import did_you_mean, value_text
from batuta.schemas.pipeline_file.quantities import PROBLEM, Duration, Name, Reference

__all__ = ["REMEDIES", "OnFailure", "OnFailureEntry", "RemedyEntry"]

#: What a remedy may be.
REMEDIES: Final = ("retry", "repair", "model", "human")
_REMEDIES_MAX: Final = 8
#: Which keys belong to which kinds of remedy.
_BELONGS: Final = {
    "options": ("repair",),
    "place": ("retry", "repair", "model"),
    "needs": ("retry", "repair", "model"),
}


def _refuse(said: str) -> PydanticCustomError:
    return PydanticCustomError(PROBLEM, "{said}", {"said": said})


class RemedyEntry(BaseModel):
    """A remedy: one of its kinds. In short: `retry`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    retry: Annotated[int, Field(ge=1, le=5, strict=True)] | None = Field(
        default=None, description="asks again, with the critique, so many times at most"
    )
    repair: Reference | None = Field(
        default=None, description="a part of your own, or a model, that mends the answer"
    )
    model: Name | None = Field(default=None, description="a model that is asked instead")
    human: Name | None = Field(default=None, description="a person who is asked; stands last")
    options: dict[str, object] = Field(
        default={}, alias="with", description="what a part for `repair` is made with"
    )
    reasons: tuple[Name, ...] = Field(
        default=(), max_length=32, description="the failures that it is tried for; else all"
    )
    place: Literal["first", "last"] | None = Field(
        default=None, description="keeps it there; else the one that helps most goes first"
    )
    needs: Duration | None = Field(
        default=None, description="left out where the event has less time; for `retry` as before"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = self._kinds()
        if len(kinds) != 1:
            found = " and ".join(kinds) or "nothing"
            raise _refuse(
                f"a remedy is one thing, but here: {found}; write one of {', '.join(REMEDIES)}"
            )
        for key, belongs in _BELONGS.items():
            if key in self.model_fields_set and kinds[0] not in belongs:
                shown = {"options": "with"}.get(key, key)
                raise _refuse(
                    f'"{shown}" belongs to {", ".join(belongs)}; leave it out, or change the remedy'
                )
        return self

    @property
    def kind(self) -> str:
        """Which kind of remedy it is."""
        return self._kinds()[0]

    def _kinds(self) -> list[str]:
        return [kind for kind in REMEDIES if getattr(self, kind) is not None]


def _short(value: object) -> object:
    """Take the word `retry` for the remedy that it stands for."""
    if not isinstance(value, str):
        return value
    if value != "retry":
        known = did_you_mean(value, REMEDIES, what="remedies")
        raise _refuse(f"{value_text(value)} is no remedy by itself; {known}")
    return {"retry": 1}


Remedy = Annotated[
    RemedyEntry,
    BeforeValidator(_short),
    WithJsonSchema({"anyOf": [{"const": "retry"}, RemedyEntry.model_json_schema()]}),
]
Remedies = Annotated[tuple[Remedy, ...], Field(min_length=1, max_length=_REMEDIES_MAX)]


class OnFailureEntry(BaseModel):
    """What is tried when an answer does not pass; a list stands for `remedies` alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remedies: Remedies = Field(description="tried until one has an answer that passes")
    attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = Field(
        default=3, description="for one event at most; a person is asked beyond"
    )
    attempts_per_reason: Annotated[int, Field(ge=1, le=10, strict=True)] = Field(
        default=2, description="for one event and one kind of failure at most"
    )
    order: Literal["success", "file"] = Field(
        default="success", description="by what has helped most against such a failure, or as here"
    )


def _listed(value: object) -> object:
    return {"remedies": value} if isinstance(value, list) else value


OnFailure = Annotated[
    OnFailureEntry,
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"anyOf": [{"const": "retry"}, {"type": "object"}]},
                },
                OnFailureEntry.model_json_schema(),
            ]
        }
    ),
]
