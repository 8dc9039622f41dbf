"""The pipeline file, whole."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.pipeline_file.budget_entries import Budgets
from batuta.schemas.pipeline_file.check_entries import Verify, VerifyEntry
from batuta.schemas.pipeline_file.entries import (
    ActionEntry,
    DecideEntry,
    EscalateEntry,
    LabelsEntry,
    ModelEntry,
    NotifyEntry,
    Part,
    SourceEntry,
    UnderstandEntry,
)
from batuta.schemas.pipeline_file.plan_entries import PlanEntry, SelectEntry
from batuta.schemas.pipeline_file.quantities import Duration, Name

__all__ = ["PipelineFile"]


class PipelineFile(BaseModel):
    """One pipeline as its users write it; `batuta plan` shows what becomes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="batuta pipeline")

    pipeline: Name = Field(description="its name: topics and groups begin with it")
    version: Annotated[int, Field(ge=1, strict=True)] = Field(
        description="raise it with every change; stands in each decision"
    )
    source: SourceEntry = Field(description="where events come from")
    understand: tuple[UnderstandEntry, ...] = Field(
        default=(), max_length=64, description="features, in the order they are computed"
    )
    price_list: str | None = Field(
        default=None, description="a file beside this one that says what models cost"
    )
    models: dict[Name, ModelEntry] = Field(min_length=1, description="models by name")
    deadline: Duration = Field(
        default=10_000,
        description="how long an event may take with all its plan; then a person decides",
    )
    plans: dict[Name, PlanEntry] = Field(
        default={}, description="who is asked; may be left out where there is one model"
    )
    select: SelectEntry | None = Field(
        default=None, description="which plan an event follows, where there are several"
    )
    verify: Verify = Field(
        default=VerifyEntry(), description="checks of answers beyond: a number from 0 to 1"
    )
    budget: Budgets = Field(default=(), description="what asking models may cost")
    decide: tuple[DecideEntry, ...] = Field(
        min_length=1, max_length=64, description="rules, the first that holds decides"
    )
    actions: dict[Name, ActionEntry] = Field(default={}, description="actions by name")
    escalate: EscalateEntry = Field(description="who reviews")
    notify: tuple[NotifyEntry, ...] = Field(
        default=(), max_length=64, description="what people are told"
    )
    sinks: dict[Name, Part] = Field(
        default={}, description="where notifications go beside the log and the webhook"
    )
    labels: LabelsEntry | None = Field(default=None, description="what becomes known later")
    reasons: Part | None = Field(default=None, description="what features say, as reason codes")
    samples: Part | None = Field(default=None, description="makes sample events")
    train: Part | None = Field(default=None, description="makes a sample model")
    history: Part | None = Field(
        default=None, description="what labelled files mean, for `evaluate` and `train`"
    )
