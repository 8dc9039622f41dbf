"""What stands under `plans` and `select`: the grammar of plans, also that of a planner's proposals.

A step is the name of a model or of another plan, or a plan in place.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from batuta.schemas.pipeline_file.check_entries import Checks
from batuta.schemas.pipeline_file.quantities import (
    PROBLEM,
    Bytes,
    Duration,
    Expression,
    MoneyText,
    Name,
)
from batuta.schemas.pipeline_file.remedy_entries import OnFailure

__all__ = ["KINDS", "NarrowEntry", "PlanEntry", "PlannerEntry", "SelectEntry", "Steps"]

#: What a plan may be.
KINDS: Final = ("ask", "sequence", "parallel", "cascade", "fallback")
_STEPS_MAX: Final = 16
_PROPOSAL_BYTES_MAX: Final = 65_536
#: Which keys belong to which kind of plan.
_BELONGS: Final = {
    "combine": "parallel",
    "weights": "parallel",
    "by": "parallel",
    "join": "parallel",
    "quorum": "parallel",
    "within": "parallel",
    "stop": "cascade",
}


def _named(value: object) -> object:
    """Take `forest` for `{ask: forest}`."""
    return {"ask": value} if isinstance(value, str) else value


def _refuse(said: str) -> PydanticCustomError:
    return PydanticCustomError(PROBLEM, "{said}", {"said": said})


Step = Annotated["PlanEntry", BeforeValidator(_named)]
Steps = Annotated[tuple[Step, ...], Field(min_length=2, max_length=_STEPS_MAX)]


class PlanEntry(BaseModel):
    """Who is asked: one model, or several by a rule. A step is a model, a plan, or one in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: Name | None = Field(default=None, description="a model, or another plan")
    sequence: Steps | None = Field(
        default=None, description="one after the other; the last one's answer counts"
    )
    parallel: Steps | None = Field(default=None, description="all at once; answers are combined")
    cascade: Steps | None = Field(default=None, description="from cheap to strong, until `stop`")
    fallback: Steps | None = Field(
        default=None, description="the next one only where there is no answer"
    )
    combine: Literal["mean", "vote", "weighted", "stacked"] | None = Field(
        default=None, description="of `parallel`, else `mean`; `stacked`: a model joins them"
    )
    weights: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1_000_000)], ...] | None, Field(max_length=_STEPS_MAX)
    ] = Field(default=None, description="for `weighted`: one per step")
    by: Name | None = Field(default=None, description="for `stacked`: the model that joins")
    join: Literal["all", "first"] | None = Field(
        default=None, description="of `parallel`: `first` waits for the quorum alone"
    )
    quorum: Annotated[int, Field(ge=1, le=_STEPS_MAX, strict=True)] | None = Field(
        default=None, description="so many answers are needed; else all, or one with `first`"
    )
    within: Duration | None = Field(
        default=None, description="of `parallel`: then what is there counts, if it is a quorum"
    )
    stop: Expression | None = Field(
        default=None, description="of `cascade`: sure enough, by `score` and `confidence`"
    )
    check: Checks = Field(default=(), description="what its answer must pass to count")
    on_failure: OnFailure | None = Field(
        default=None, description="what is tried where it does not pass; else nothing"
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "nothing"
            raise _refuse(
                f"a plan is one thing, but here: {found}; write one of {', '.join(KINDS)}"
            )
        for key, kind in _BELONGS.items():
            if getattr(self, key) is not None and kind != kinds[0]:
                raise _refuse(f'"{key}" belongs to {kind}; leave it out, or change the plan')
        if self.cascade is not None and self.stop is None:
            raise _refuse('a cascade needs "stop"; add stop: "confidence > 0.97"')
        if self.on_failure is not None and not self.check:
            raise _refuse('"on_failure" belongs to "check"; add checks, or leave it out')
        if self.parallel is not None:
            self._check_parallel(len(self.parallel))
        return self

    def _check_parallel(self, steps: int) -> None:
        if (self.combine == "weighted") != (self.weights is not None):
            raise _refuse(
                "weighted and weights go together; write combine: weighted, weights: [..]"
            )
        if self.weights is not None and (len(self.weights) != steps or sum(self.weights) <= 0):
            raise _refuse(f"there are {steps} steps; give {steps} weights, not all of them 0")
        if (self.combine == "stacked") != (self.by is not None):
            raise _refuse("stacked and by go together; write combine: stacked, by: MODEL")
        if self.quorum is not None and self.quorum > steps:
            raise _refuse(f"a quorum of {self.quorum} of {steps} steps never comes; lower it")

    @property
    def kind(self) -> str:
        """Which kind of plan it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def steps(self) -> "tuple[PlanEntry, ...]":
        """The steps, none where one model is asked."""
        return self.sequence or self.parallel or self.cascade or self.fallback or ()


class NarrowEntry(BaseModel):
    """Where `when` holds, only some plans may be chosen. The first that holds narrows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Expression = Field(
        description="true or false, of fields, features, and what `understand` has answered"
    )
    among: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(description="plans")


class PlannerEntry(BaseModel):
    """A model that proposes a plan for each event; the one selected stands where it may not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: Name = Field(description="the model that plans; it has `reads`")
    allow: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)] = Field(
        description="the models that it may plan with; plans of these may be named as well"
    )
    price: MoneyText | None = Field(
        default=None, description="what a plan may cost, were each of its models asked"
    )
    depth: Annotated[int, Field(strict=True, ge=1, le=8)] = Field(
        default=4, description="so deep a plan may be nested, named plans looked through"
    )
    steps: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        default=16, description="so many steps it may have, named plans looked through"
    )
    size: Bytes = Field(default=4_096, description="so long it may be, as JSON; at most `64KiB`")
    replans: Annotated[int, Field(strict=True, ge=0, le=1)] = Field(
        default=0, description="1: it may plan once more where a model of its plan has failed"
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.size > _PROPOSAL_BYTES_MAX:
            raise _refuse(f"a plan of {self.size} bytes is something else; write at most 64KiB")
        return self


class SelectEntry(BaseModel):
    """Which plan an event follows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    among: Annotated[tuple[Name, ...], Field(min_length=1, max_length=32)] = Field(
        description="the candidates; the first is the one to fall back on"
    )
    weights: dict[Name, Annotated[float, Field(ge=0, le=1_000_000)]] = Field(
        default={}, description="how often each is chosen; else alike"
    )
    understand: Name | None = Field(
        default=None,
        description="a model that is asked about each event before its plan is chosen: rules see "
        "`NAME.score`, `NAME.confidence`, `NAME.value.FIELD`; else nobody is",
    )
    rules: tuple[NarrowEntry, ...] = Field(
        default=(), max_length=32, description="what narrows the candidates"
    )
    planner: PlannerEntry | None = Field(
        default=None, description="a model that plans; else nobody does"
    )


PlanEntry.model_rebuild()
