"""How a model is left: one that holds connections closes them."""

from typing import Protocol, runtime_checkable

__all__ = ["Closing", "close_model"]


@runtime_checkable
class Closing(Protocol):
    """A model that holds something open."""

    async def close(self) -> None:
        """Let go of it."""
        ...


async def close_model(model: object) -> None:
    """Close a model, where it holds something open."""
    if isinstance(model, Closing):
        await model.close()
