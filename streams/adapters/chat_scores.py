"""A chat model that scores events by their features: a Model around a `ChatModel`."""

from typing import Self

from batuta.agents.models.answers import Answers
from batuta.agents.models.port import Matrix
from batuta.streams.adapters.chat import ChatModel, ChatPlan
from batuta.streams.adapters.http_calls import Endpoint

__all__ = ["ChatScores"]


class ChatScores:
    """A Model: each row's features travel by their names.

    Attributes:
        name, version, inputs: as the pipeline says.
    """

    def __init__(self, endpoint: Endpoint, plan: ChatPlan, inputs: tuple[str, ...]) -> None:
        self._chat = ChatModel(endpoint, plan)
        self.name = plan.name
        self.version = self._chat.version
        self.inputs = inputs

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def answer(self, inputs: Matrix) -> Answers:
        """Return one score per row of `inputs` (rows, len(self.inputs)).

        Raises:
            ModelFailedError: no row at all was answered, and nothing was paid.
        """
        names = self.inputs
        return await self._chat.answer_rows(
            [dict(zip(names, row, strict=True)) for row in inputs.tolist()]
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()
