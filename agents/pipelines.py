"""A pipeline as everything else takes it: compiled, with the parts its file names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from batuta.agents.compiler.compiling import Plan
from batuta.agents.judging import Deciding
from batuta.agents.models.card import TrainedModel
from batuta.agents.reasons import Reasons
from batuta.agents.samples import Clock, SampleEvent, Samples
from batuta.agents.understanding.features import window_names
from batuta.agents.understanding.shares import share_names
from batuta.schemas.errors import UsageError
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.topics import Topics

__all__ = ["LoadedPipeline", "NoSamples", "NoTrainer", "Shipped", "Trainer"]


class Trainer(Protocol):
    """Makes a pipeline's sample model from generated history, in seconds.

    Attributes:
        recipe: which recipe it follows; a sample model of another one is made anew.
    """

    recipe: int

    def train(self, plan: Plan) -> TrainedModel:
        """Return the model and its card; the same recipe gives the same model."""
        ...


@dataclass(frozen=True, slots=True)
class NoSamples:
    """Stands where a pipeline file names no samples."""

    file: str

    def __call__(self, seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
        """Refuse.

        Raises:
            UsageError: always.
        """
        del seed, now_ms, clock
        raise UsageError(f'{self.file} makes no sample events; add samples: "package.module:name"')


@dataclass(frozen=True, slots=True)
class NoTrainer:
    """Stands where a pipeline file names no trainer."""

    file: str
    recipe: int = 0

    def train(self, plan: Plan) -> TrainedModel:
        """Refuse.

        Raises:
            UsageError: always.
        """
        what = f"has no file for the model {plan.model}, and nothing makes one"
        raise UsageError(f"{self.file} {what}; add file and sha256 to the model, or train:")


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """One pipeline, whole.

    Attributes:
        pipeline: what the stages run by.
        plan: what its file was compiled to.
        data: the schema of its events' payload.
        label: the schema of its labels, where it has any.
        reasons: what its features say, as codes and texts.
        samples: makes sample events without end.
        trainer: makes its sample model.
    """

    pipeline: Pipeline
    plan: Plan
    data: type[BaseModel]
    label: type[BaseModel] | None
    reasons: Reasons
    samples: Samples
    trainer: Trainer

    @property
    def topics(self) -> Topics:
        """Its topics."""
        return Topics(self.pipeline.name, budgets=bool(self.plan.budgets))

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it has, in the order of the route: labels and budgets have their own."""
        return (
            "ingestion",
            *(("rekeying", "learning") if self.pipeline.labels else ()),
            "scoring",
            *(("budgeting",) if self.plan.budgets else ()),
            "escalation",
            "notification",
        )

    @property
    def deciding(self) -> Deciding:
        """What the conductor is given beside the windows."""
        plan = self.plan
        return Deciding(plan.understanding, plan.names, delegating=plan.delegating)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Every feature a model may see, in the order they are computed."""
        windows = (*self.pipeline.ingestion_windows, *self.pipeline.scoring_windows)
        names = (name for one in windows for name in window_names(one))
        shares = (name for one in self.pipeline.shares for name in share_names(one))
        return (*names, *shares, *self.plan.understanding.names)


#: As a pipeline was called while batuta had none but its own.
Shipped = LoadedPipeline
