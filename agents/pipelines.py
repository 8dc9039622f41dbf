"""The pipelines that ship with batuta, by name: everything the other rooms need of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.generator import fraud_samples
from batuta.agents.fraud.pipeline import FRAUD, RECIPE
from batuta.agents.fraud.reasons import FraudReasons
from batuta.agents.models.card import TrainedModel
from batuta.agents.reasons import Reasons
from batuta.agents.samples import Samples
from batuta.agents.understanding.features import ContextFeatures
from batuta.schemas.fraud import Transaction
from batuta.schemas.pipeline import Pipeline

__all__ = ["PIPELINES", "Shipped"]


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
