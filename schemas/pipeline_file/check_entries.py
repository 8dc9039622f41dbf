"""What stands under `verify`, and under `check` of a step: checks of answers.

A check in short is a word (`range`, `tone`) or an expression that must hold.
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

from batuta.schemas.pipeline_file.quantities import (
    PROBLEM,
    Duration,
    Expression,
    Name,
    Percentage,
    Reference,
)
from batuta.schemas.pipeline_file.remedy_entries import OnFailure

__all__ = ["CHECK_KINDS", "CheckEntry", "Checks", "Verify", "VerifyEntry"]

#: What a check may be.
CHECK_KINDS: Final = (
    *("range", "rule", "schema", "grounding", "tone", "compliance", "validator", "use"),
)
_TEXTS: Final = ("schema", "grounding", "tone", "compliance")
#: Which keys belong to which kinds of check.
_BELONGS: Final = {
    "of": _TEXTS,
    "sources": ("grounding",),
    "least": ("validator",),
    "options": ("use",),
    "reason": ("use", "rule"),
    "verifies": ("use", "rule"),
}
_CHECKS_MAX: Final = 16


def _refuse(said: str) -> PydanticCustomError:
    return PydanticCustomError(PROBLEM, "{said}", {"said": said})


class CheckEntry(BaseModel):
    """A check of answers: one of its kinds. In short: `range`, `tone`, or an expression."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    range: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...] | None, Field(min_length=2, max_length=2)
    ] = Field(default=None, description="the lowest and the highest score that may be used")
    rule: Expression | None = Field(
        default=None, description="what must hold; `contradiction` is how far models differ"
    )
    shape: Reference | None = Field(
        default=None, alias="schema", description="the pydantic model of a model's value"
    )
    grounding: Percentage | None = Field(
        default=None, description="share of a claim's words that one source must hold"
    )
    tone: tuple[str, ...] | None = Field(
        default=None, max_length=64, description="neither rude nor loud; further unwanted words"
    )
    compliance: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=32, description="steps that a text says in order"
    )
    validator: Name | None = Field(default=None, description="a model that judges the answer")
    use: Reference | None = Field(
        default=None, description="`package.module:Name`, or an entry point's name"
    )
    options: dict[str, object] = Field(
        default={}, alias="with", description="what `use` is made with"
    )
    of: Name | None = Field(default=None, description="whose value; else that of whoever answers")
    sources: Name | None = Field(
        default=None, description="for `grounding`: the model whose value holds the sources"
    )
    least: Percentage = Field(
        default=0.5, description="for `validator`: the lowest score that passes"
    )
    reason: Name | None = Field(default=None, description="the reason of what does not pass")
    verifies: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="for `use`, `rule`: passing it takes all taint off"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = self._kinds()
        if len(kinds) != 1:
            found = " and ".join(kinds) or "nothing"
            known = ", ".join(CHECK_KINDS)
            raise _refuse(f"a check is one thing, but here: {found}; write one of {known}")
        for key, belongs in _BELONGS.items():
            if key in self.model_fields_set and kinds[0] not in belongs:
                shown = {"options": "with"}.get(key, key)
                raise _refuse(
                    f'"{shown}" belongs to {", ".join(belongs)}; leave it out, or change the check'
                )
        if self.range is not None and self.range[0] > self.range[1]:
            low, high = self.range
            raise _refuse(f"no score is from {low:g} to {high:g}; write the lower one first")
        if self.grounding is not None and self.sources is None:
            raise _refuse('grounding needs "sources"; add the model whose value holds them')
        return self

    @property
    def kind(self) -> str:
        """Which kind of check it is."""
        return self._kinds()[0]

    @property
    def follows(self) -> bool:
        """Whether it looks at the value of whoever answers, as it names nobody."""
        return self.of is None and self.kind in _TEXTS

    def _kinds(self) -> list[str]:
        told = ((kind, getattr(self, _ATTRIBUTES.get(kind, kind))) for kind in CHECK_KINDS)
        return [kind for kind, value in told if value is not None]


_ATTRIBUTES: Final = {"schema": "shape"}
_WORDS: Final[dict[str, dict[str, object]]] = {"range": {"range": [0.0, 1.0]}, "tone": {"tone": []}}


def _short(value: object) -> object:
    """Take a word or an expression for the check that it stands for."""
    return _WORDS.get(value, {"rule": value}) if isinstance(value, str) else value


Check = Annotated[
    CheckEntry,
    BeforeValidator(_short),
    WithJsonSchema({"anyOf": [{"type": "string"}, CheckEntry.model_json_schema()]}),
]
Checks = Annotated[tuple[Check, ...], Field(max_length=_CHECKS_MAX)]


class VerifyEntry(BaseModel):
    """What every answer of a plan must pass. A list of checks stands for `check` alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: Literal["models"] = Field(default="models", description="where: behind the whole plan")
    check: Checks = Field(default=(), description="all of them are run")
    on_failure: OnFailure | None = Field(
        default=None, description="what is tried where it does not pass; else nothing"
    )
    stale: Duration | None = Field(
        default=None, description="features older than this do not act; else none is too old"
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.on_failure is not None and not self.check:
            raise _refuse('"on_failure" belongs to "check"; add checks, or leave it out')
        return self


def _listed(value: object) -> object:
    return {"check": value} if isinstance(value, list) else value


Verify = Annotated[
    VerifyEntry,
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
                VerifyEntry.model_json_schema(),
            ]
        }
    ),
]
