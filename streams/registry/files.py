"""Model files that become versions: read, checked by being loaded, kept in the model directory."""

from datetime import datetime
from hashlib import sha256
from pathlib import Path

from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.skill import price_text, skill_of
from batuta.agents.pipelines import NoTrainer
from batuta.schemas.errors import UsageError
from batuta.schemas.model_version import ModelVersion
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.model_store import ModelStore, sample_card
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.registry.standing import Standing

__all__ = ["live_card", "version_here", "version_of"]


def version_of(
    on_disk: PipelineOnDisk, name: str, file: Path | None, store: ModelStore, now: datetime
) -> ModelVersion:
    """Return the version that a file is, once it has been loaded and is kept in the store.

    Args:
        on_disk: the pipeline.
        name: which of its models.
        file: an ONNX file; None for the model that was trained last.
        store: where it is kept.
        now: when it is registered.

    Raises:
        UsageError: there is no such model or file, or it is none that the pipeline could ask.
    """
    pipeline, entries = on_disk.loaded.pipeline.name, on_disk.document.file.models
    if name not in entries:
        raise UsageError(f"{name!r} is no model of {pipeline}; choose one of: {', '.join(entries)}")
    entry, inputs = entries[name], on_disk.loaded.plan.inputs[name]
    if entry.adapter != "onnx":
        raise UsageError(
            f"{name} is reached by {entry.adapter}; only models in files are registered"
        )
    trained = _trained(pipeline, store) if file is None else _read(pipeline, name, inputs, file)
    if trained.card.name != name:
        raise UsageError(f"the model trained last is {trained.card.version}, not of {name}")
    OnnxModel.load(trained.data, trained.card)
    store.keep(trained)
    return _version(entry, trained.card, now)


def version_here(
    on_disk: PipelineOnDisk, name: str, store: ModelStore, now: datetime
) -> ModelVersion:
    """Return the version that a model has on this machine, kept in the store.

    That is the model that was trained last, or that the pipeline's own trainer makes; else the
    version that was registered last.

    Raises:
        UsageError: there is none.
    """
    loaded, entry = on_disk.loaded, on_disk.document.file.models[name]
    if name == loaded.plan.model and not isinstance(loaded.trainer, NoTrainer):
        made = sample_card(loaded, store.directory)
        card = made.model_copy(update={"pipeline": loaded.pipeline.name})
        store.keep(TrainedModel(store.read(made), card))
        return _version(entry, card, now)
    kept = store.kept_last(loaded.pipeline.name, name)
    if kept is None:
        return version_of(on_disk, name, None, store, now)
    return _version(entry, kept, now)


def _version(entry: ModelEntry, card: ModelCard, now: datetime) -> ModelVersion:
    return ModelVersion(
        version_id=card.version,
        pipeline=card.pipeline,
        model=card.name,
        sha256=card.sha256,
        algorithm=card.algorithm,
        skill=skill_of(entry, card.inputs),
        price=price_text(entry),
        registered_at=now,
    )


def live_card(standing: Standing, pipeline: str, name: str) -> ModelCard:
    """Return the card of the version of a model that is in production.

    Raises:
        UsageError: none is.
    """
    live = standing.at(pipeline, name, "production")
    if live is None:
        what = f"no version of {name} is in production"
        # A pipeline that is no shipped one is known by its file alone.
        fix = "batuta models register PIPELINE, then batuta models promote PIPELINE ID"
        raise UsageError(f"{what} for {pipeline}; {fix}")
    return ModelCard(
        name=name,
        pipeline=pipeline,
        sha256=live.sha256,
        inputs=live.skill.inputs,
        algorithm=live.algorithm,
    )


def _trained(pipeline: str, store: ModelStore) -> TrainedModel:
    card = store.card(pipeline)
    if card is None:
        raise UsageError(f"no model of {pipeline} was trained here; name a file, or batuta train")
    return TrainedModel(store.read(card), card)


def _read(pipeline: str, name: str, inputs: tuple[str, ...], file: Path) -> TrainedModel:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"model file {file} cannot be read: {error.strerror}") from error
    card = ModelCard(
        name=name,
        pipeline=pipeline,
        sha256=sha256(data).hexdigest(),
        inputs=inputs,
        algorithm=f"as in {file.name}",
    )
    return TrainedModel(data, card)
