"""The pipelines that ship with batuta, by name: everything the other rooms need of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.pipeline import FRAUD
from batuta.agents.fraud.reasons import FraudReasons
from batuta.agents.reasons import Reasons
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
    """

    pipeline: Pipeline
    data: type[BaseModel]
    features: ContextFeatures
    reasons: Reasons


PIPELINES: Final[Mapping[str, Shipped]] = {
    "fraud": Shipped(FRAUD, Transaction, FraudFeatures(), FraudReasons()),
}
