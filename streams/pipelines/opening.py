"""Opens the models that a pipeline asks, whatever adapter reaches each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from batuta.agents.models.card import VERSION_DIGITS, ModelCard
from batuta.agents.models.port import AnyModel
from batuta.schemas.pipeline_file.serving import SERVED
from batuta.streams.adapters.chat import ProposedPlan
from batuta.streams.adapters.python import (
    PythonModel,
    PythonModelPart,
    PythonModelPlan,
    PythonRowModel,
    PythonRowModelPart,
)
from batuta.streams.adapters.text import TextModel
from batuta.streams.model_store import ModelStore, sample_card, sample_model
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.pipelines.opening_files import open_file, open_live
from batuta.streams.pipelines.opening_served import Served, open_served
from batuta.streams.pipelines.sharing import Shared

__all__ = ["open_models"]


def open_models(
    on_disk: PipelineOnDisk,
    directory: Path,
    progress: Callable[[str], None] = lambda _: None,
    live: Mapping[str, ModelCard] | None = None,
    shared: Shared | None = None,
) -> Mapping[str, AnyModel]:
    """Return the models that a pipeline's plans ask, by name.

    Args:
        on_disk: the pipeline.
        directory: where trained models are kept.
        progress: told, in a few words, what takes long.
        live: what the registry has in production, by model; None where it was not asked.
        shared: what other pipelines of this process have opened.

    Raises:
        UsageError: one cannot be opened, or is not what the file says.
    """
    opening = _Opening(on_disk, directory, progress, live, shared or Shared())
    return {name: opening.open(name) for name in on_disk.loaded.plan.asked}


@dataclass(frozen=True, slots=True)
class _Opening:
    on_disk: PipelineOnDisk
    directory: Path
    progress: Callable[[str], None]
    live: Mapping[str, ModelCard] | None
    shared: Shared

    def open(self, name: str) -> AnyModel:
        loaded, document = self.on_disk.loaded, self.on_disk.document
        entry = document.file.models[name]
        if entry.adapter == "python":
            return _python(name, self.on_disk, entry.timeout)
        if entry.adapter in SERVED:
            answers = {**_proposing(self.on_disk), **self.on_disk.answers}
            served = Served(name, entry, loaded.plan.inputs[name], answers)
            return open_served(document, served, self.shared)
        if entry.version is not None:
            return open_live(name, self.live, self.directory)
        if entry.file is None:
            assert name == loaded.plan.model, "refused by the compiler: only one is trained"
            if entry.adapter == "text":
                return self._text(entry.timeout)
            return sample_model(loaded, self.directory, self.progress)
        assert entry.sha256 is not None, "refused when the file was read"
        card = ModelCard(
            name=name,
            pipeline=loaded.pipeline.name,
            sha256=entry.sha256,
            inputs=loaded.plan.inputs[name],
            algorithm=f"as in {entry.file}",
        )
        opened = partial(open_file, entry.adapter, self.on_disk.folder / entry.file, card)
        peer = (entry.adapter, card.sha256, len(card.inputs))
        return self.shared.model(peer, name, card.inputs, opened)

    def _text(self, timeout_ms: int) -> AnyModel:
        loaded, store = self.on_disk.loaded, ModelStore(self.directory)
        card = sample_card(loaded, self.directory, self.progress)
        reads = loaded.plan.inputs[loaded.plan.model]
        named = card.model_copy(update={"inputs": reads})
        return TextModel.load(store.read(card), named, timeout_ms)


def _proposing(on_disk: PipelineOnDisk) -> Mapping[str, type[BaseModel]]:
    """Return what a chat model answers that plans, where the file names no schema."""
    planner = on_disk.loaded.plan.delegating.planner
    return {} if planner is None else {planner.model: ProposedPlan}


def _python(name: str, on_disk: PipelineOnDisk, timeout_ms: int) -> AnyModel:
    (found,) = [one for one in on_disk.imports if one.field == f"models.{name}.use"]
    plan = PythonModelPlan(
        name=name,
        version=f"{name}@{found.sha256[:VERSION_DIGITS]}",
        inputs=on_disk.loaded.plan.inputs[name],
        timeout_ms=timeout_ms,
    )
    part = on_disk.models[name]
    if on_disk.document.file.models[name].reads:
        return PythonRowModel(cast("PythonRowModelPart", part), plan)
    return PythonModel(cast("PythonModelPart", part), plan)
