"""The pipelines that ship with batuta, by name: everything the other rooms need of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel

from batuta.agents.compiler.compiling import Plan
from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.generator import fraud_samples
from batuta.agents.fraud.pipeline import FRAUD, RECIPE
from batuta.agents.fraud.reasons import FraudReasons
from batuta.agents.models.card import TrainedModel
from batuta.agents.policy.checks import BoundCheck
from batuta.agents.reasons import Reasons
from batuta.agents.samples import Samples
from batuta.agents.understanding.features import ContextFeatures
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Pipeline

__all__ = ["PIPELINES", "LoadedPipeline", "Shipped", "Trainer"]


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
class LoadedPipeline:
    """One pipeline, whole: compiled, with the parts its file names.

    Attributes:
        pipeline: what the stages run by.
        plan: what it was compiled to.
        data: the schema of its events' payload.
        label: the schema of its labels, where it has any.
        reasons: what its features say, as codes and texts.
        checks: of answers, in order.
        samples: makes sample events without end, where it can.
        trainer: makes its sample model, where it can.
    """

    pipeline: Pipeline
    plan: Plan
    data: type[BaseModel]
    label: type[BaseModel] | None
    reasons: Reasons
    checks: tuple[BoundCheck, ...]
    samples: Samples | None
    trainer: Trainer | None


@dataclass(frozen=True, slots=True)
class Shipped:
    """One pipeline, whole.

    Attributes:
        pipeline: as declared.
        data: the schema of its events' payload.
        features: what it computes of an event alone.
        reasons: what its features say, as codes and texts.
        samples: makes sample events without end.
        train: makes its sample model from generated history, in seconds.
        recipe: which recipe `train` follows; a sample model of another one is made anew.
    """

    pipeline: Pipeline
    data: type[BaseModel]
    features: ContextFeatures
    reasons: Reasons
    samples: Samples
    train: Callable[[], TrainedModel]
    recipe: int


def _train_fraud() -> TrainedModel:
    from batuta.agents.fraud.training import train  # noqa: PLC0415 - loads the compiler

    return train()


PIPELINES: Final[Mapping[str, Shipped]] = {
    "fraud": Shipped(
        pipeline=FRAUD,
        data=Transaction,
        features=FraudFeatures(),
        reasons=FraudReasons(),
        samples=fraud_samples,
        train=_train_fraud,
        recipe=RECIPE,
    ),
}
