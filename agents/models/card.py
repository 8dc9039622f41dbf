"""The model card: what a model file is, what it wants to see, and how well it did."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["VERSION_DIGITS", "ModelCard", "TrainedModel"]

#: How many hex digits of a file's sha256 stand in a model's version.
VERSION_DIGITS: Final = 12


class ModelCard(BaseModel):
    """What must be known of a model file to use it; travels beside it as JSON.

    >>> card = ModelCard(name="forest", pipeline="fraud", sha256="ab" * 32, inputs=("amount",),
    ...                  algorithm="boosted trees")
    >>> card.version
    'forest@abababababab'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    pipeline: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="of the model file")]
    inputs: Annotated[tuple[str, ...], Field(min_length=1, description="feature names, in order")]
    format: Literal["onnx", "text"] = Field(
        default="onnx", description="of the file: ONNX, or the arrays of a classifier of texts"
    )
    algorithm: str
    recipe: int | None = Field(default=None, description="which recipe made a sample model")
    trained_on: Mapping[str, int | float | str] = {}
    metrics: Mapping[str, float] = {}

    @property
    def version(self) -> str:
        """Name and the first digits of the file's sha256, as decisions carry it."""
        return f"{self.name}@{self.sha256[:VERSION_DIGITS]}"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model file's bytes and its card, checked to belong together."""

    data: bytes
    card: ModelCard

    def __post_init__(self) -> None:
        assert sha256(self.data).hexdigest() == self.card.sha256, "a card of another file"

    @property
    def version(self) -> str:
        """As decisions carry it."""
        return self.card.version
