"""Model files on disk: `<dir>/<pipeline>/<name>-<sha12>.onnx`, beside each its card as JSON.

A classifier of texts ends with `.npz`, for it is arrays.

Files are written whole or not at all, and never pickled. `latest.json` is the card in use.
"""

import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from batuta.agents.models.card import VERSION_DIGITS, ModelCard, TrainedModel
from batuta.agents.pipelines import Shipped
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.onnx import OnnxModel

__all__ = ["ModelStore", "sample_card", "sample_model"]

_LATEST: Final = "latest.json"
_SUFFIXES: Final = {"onnx": ".onnx", "text": ".npz"}


class ModelStore:
    """The model files under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(self, model: TrainedModel) -> Path:
        """Write a model and its card, and make it the one its pipeline uses.

        Returns:
            The model file.

        Raises:
            UsageError: the directory cannot be written.
        """
        path = self.keep(model)
        _written(path.with_name(_LATEST), model.card.model_dump_json(indent=2).encode())
        return path

    def keep(self, model: TrainedModel) -> Path:
        """Write a model and its card, for whoever asks for that version.

        Returns:
            The model file.

        Raises:
            UsageError: the directory cannot be written.
        """
        path = self._path(model.card)
        _written(path, model.data)
        _written(path.with_suffix(".json"), model.card.model_dump_json(indent=2).encode())
        return path

    def card(self, pipeline: str) -> ModelCard | None:
        """Return the card of the model that `pipeline` uses, or None where none was saved.

        Raises:
            UsageError: it is damaged.
        """
        latest = self.directory / pipeline / _LATEST
        return _card(latest) if latest.exists() else None

    def kept_last(self, pipeline: str, name: str) -> ModelCard | None:
        """Return the card of the version of a model that was kept last; None where none was.

        Raises:
            UsageError: it is damaged.
        """
        cards = [*(self.directory / pipeline).glob(f"{name}-*.json")]
        if not cards:
            return None
        return _card(max(cards, key=lambda path: (path.stat().st_mtime_ns, path.name)))

    def load(self, card: ModelCard) -> OnnxModel:
        """Return the model that `card` describes.

        Raises:
            UsageError: its file is missing, of another hash, or no such model.
        """
        return OnnxModel.load(self._path(card), card)

    def read(self, card: ModelCard) -> bytes:
        """Return the bytes of the file that `card` describes.

        Raises:
            UsageError: the file is missing, or of another hash.
        """
        path = self._path(card)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"model file {path} cannot be read: {error.strerror}") from error
        if (found := sha256(data).hexdigest()) != card.sha256:
            raise UsageError(f"model file {path} has sha256 {found}, expected {card.sha256}")
        return data

    def _path(self, card: ModelCard) -> Path:
        name = f"{card.name}-{card.sha256[:VERSION_DIGITS]}{_SUFFIXES[card.format]}"
        return self.directory / card.pipeline / name


def _card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"the model card {path} cannot be read: {error}") from error


def sample_model(
    shipped: Shipped, directory: Path, progress: Callable[[str], None] = lambda _: None
) -> OnnxModel:
    """Return a pipeline's model, trained from generated history where there is none yet.

    A sample model that an earlier release made by another recipe is made anew; a model that was
    trained otherwise is kept.

    Args:
        shipped: the pipeline.
        directory: where models are kept.
        progress: told, in a few words, what takes long.

    Raises:
        UsageError: the model kept there cannot be used, or none can be written.
    """
    return ModelStore(directory).load(sample_card(shipped, directory, progress))


def sample_card(
    shipped: Shipped, directory: Path, progress: Callable[[str], None] = lambda _: None
) -> ModelCard:
    """Return the card of what `sample_model` returns.

    Raises:
        UsageError: the card kept there is damaged, or no model can be written.
    """
    store, name = ModelStore(directory), shipped.pipeline.name
    card = store.card(name)
    if card is not None and card.recipe in {None, shipped.trainer.recipe}:
        return card
    progress(f"training a model for {name} from generated history")
    trained = shipped.trainer.train(shipped.plan)
    path = store.save(trained)
    progress(f"{trained.card.version} written to {path}")
    return trained.card


def _written(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)
    except OSError as error:
        what = f"the model directory {path.parent} cannot be written: {error.strerror}"
        raise UsageError(what) from error


def _write(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds it whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
