"""Makes the support pipeline's sample model; scikit-learn is imported when it is asked to."""

from typing import Final

from batuta.agents.compiler.compiling import Plan
from batuta.agents.models.card import TrainedModel

__all__ = ["RECIPE", "SupportTrainer"]

#: Raise it whenever the sample model would come out differently: its messages, its terms.
RECIPE: Final = 1


class SupportTrainer:
    """A classifier of the intents of generated messages."""

    recipe: int = RECIPE

    def train(self, plan: Plan) -> TrainedModel:
        """Train; takes some seconds."""
        from batuta.agents.support.training import train  # noqa: PLC0415 - loads the compiler

        del plan
        return train()
