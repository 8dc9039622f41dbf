"""Opens the model that a pipeline asks, whatever adapter reaches it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from batuta.agents.models.card import VERSION_DIGITS, ModelCard
from batuta.agents.models.port import Model
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.serving import SERVED
from batuta.streams.adapters.python import PythonModel, PythonModelPart, PythonModelPlan
from batuta.streams.model_store import sample_model
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.pipelines.opening_files import open_file, open_live
from batuta.streams.pipelines.opening_served import Served, open_served

__all__ = ["open_model"]


def open_model(
    on_disk: PipelineOnDisk,
    directory: Path,
    progress: Callable[[str], None] = lambda _: None,
    live: Mapping[str, ModelCard] | None = None,
) -> Model:
    """Return the model that a pipeline asks.

    Args:
        on_disk: the pipeline.
        directory: where trained models are kept.
        progress: told, in a few words, what takes long.
        live: what the registry has in production, by model; None where it was not asked.

    Raises:
        UsageError: it cannot be opened, or is not what the file says.
    """
    loaded, entry = on_disk.loaded, on_disk.entry
    if entry.adapter == "python":
        return _python(on_disk, entry)
    if entry.adapter in SERVED:
        name = loaded.plan.model
        served = Served(name, entry, loaded.plan.inputs[name], on_disk.answers)
        return open_served(on_disk.document, served)
    if entry.version is not None:
        return open_live(loaded.plan.model, live, directory)
    if entry.file is None:
        return sample_model(loaded, directory, progress)
    assert entry.sha256 is not None, "refused when the file was read"
    card = ModelCard(
        name=loaded.plan.model,
        pipeline=loaded.pipeline.name,
        sha256=entry.sha256,
        inputs=loaded.plan.inputs[loaded.plan.model],
        algorithm=f"as in {entry.file}",
    )
    return open_file(entry.adapter, on_disk.folder / entry.file, card)


def _python(on_disk: PipelineOnDisk, entry: ModelEntry) -> PythonModel:
    name = on_disk.loaded.plan.model
    (found,) = [one for one in on_disk.imports if one.field == f"models.{name}.use"]
    plan = PythonModelPlan(
        name=name,
        version=f"{name}@{found.sha256[:VERSION_DIGITS]}",
        inputs=on_disk.loaded.plan.inputs[name],
        timeout_ms=entry.timeout,
    )
    return PythonModel(cast("PythonModelPart", on_disk.model), plan)
