"""Makes the fraud pipeline's sample model; scikit-learn is imported when it is asked to."""

from typing import Final

from batuta.agents.compiler.compiling import Plan
from batuta.agents.models.card import TrainedModel

__all__ = ["RECIPE", "FraudTrainer"]

#: Raise it whenever the sample model would come out differently: its generator, its inputs.
RECIPE: Final = 2


class FraudTrainer:
    """Boosted trees on a generated world."""

    recipe: int = RECIPE

    def train(self, plan: Plan) -> TrainedModel:
        """Train; takes some seconds."""
        from batuta.agents.fraud.training import train  # noqa: PLC0415 - loads the compiler

        del plan
        return train()
