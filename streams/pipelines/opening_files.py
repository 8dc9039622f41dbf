"""Opens models that are files: beside the pipeline file, or as the registry has them."""

from collections.abc import Mapping
from pathlib import Path

from batuta.agents.models.card import ModelCard
from batuta.agents.models.port import AnyModel, Model
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.adapters.river import RiverModel
from batuta.streams.adapters.text import TextModel
from batuta.streams.model_store import ModelStore

__all__ = ["open_file", "open_live"]


def open_file(adapter: str, path: Path, card: ModelCard) -> AnyModel:
    """Return the model in a file, once its hash was compared.

    Raises:
        UsageError: it cannot be read, is of another hash, or is no such model.
    """
    if adapter == "text":
        return TextModel.load(path, card)
    if adapter != "river":
        return OnnxModel.load(path, card)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"model file {path} cannot be read: {error.strerror}") from error
    return RiverModel.load(data, card)


def open_live(name: str, live: Mapping[str, ModelCard] | None, directory: Path) -> Model:
    """Return the version of a model that is in production, warmed.

    Raises:
        UsageError: the registry was not asked; the file is missing, or of another hash.
    """
    if live is None:
        raise UsageError(
            f"{name} follows the registry, which only a worker with --bootstrap reads; "
            "leave version out of the entry to use the model trained last"
        )
    return ModelStore(directory).load(live[name])
