"""A model under another name: two pipelines of one worker ask the same one, each as it calls it."""

from collections.abc import Mapping, Sequence
from typing import cast

from batuta.agents.models.answers import Answers
from batuta.agents.models.port import AnyModel, Matrix, Model, RowModel, Scores, reads_rows
from batuta.streams.adapters.closing import close_model

__all__ = ["Alias", "RowAlias", "called", "original"]


class Alias:
    """A Model that another one answers for."""

    def __init__(self, model: Model, name: str, inputs: tuple[str, ...]) -> None:
        assert len(inputs) == len(model.inputs), "as many features, whatever they are called"
        self.model = model
        self.name = name
        self.version = _version(model, name)
        self.inputs = inputs

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        """Return what the other one answers."""
        return await self.model.answer(inputs)

    async def close(self) -> None:
        """Close the other one."""
        await close_model(self.model)


class RowAlias:
    """A RowModel that another one answers for."""

    def __init__(self, model: RowModel, name: str) -> None:
        self.model = model
        self.name = name
        self.version = _version(model, name)
        self.reads = model.reads

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return what the other one answers."""
        return await self.model.answer_rows(rows)

    async def close(self) -> None:
        """Close the other one."""
        await close_model(self.model)


def called(model: AnyModel, name: str, inputs: tuple[str, ...]) -> AnyModel:
    """Return a model under a name, with features as they are called there."""
    if reads_rows(model):
        return model if model.name == name else RowAlias(model, name)
    plain = cast("Model", model)
    return plain if (plain.name, plain.inputs) == (name, inputs) else Alias(plain, name, inputs)


def original(model: AnyModel) -> AnyModel:
    """Return who answers."""
    return model.model if isinstance(model, Alias | RowAlias) else model


def _version(model: AnyModel, name: str) -> str:
    return f"{name}@{model.version.partition('@')[2]}"
