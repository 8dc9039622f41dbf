"""Online models of river: a scaler and a logistic regression, kept as JSON and never pickled.

river itself keeps models by pickling alone. What is written here is the numbers that its parts have
learnt, by feature; a part that is not known here is refused, since its state could not be given
back. Needs `batuta[river]`.
"""

import importlib
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Protocol, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batuta.agents.models.card import ModelCard
from batuta.agents.models.port import Matrix, Scores
from batuta.schemas.errors import UsageError

__all__ = ["RiverModel", "river_state"]

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
_FILE_BYTES_MAX: Final = 64 * 1_048_576


class Online(Protocol):
    """What river's classifiers do, one event at a time."""

    def predict_proba_one(self, x: dict[str, float]) -> dict[bool, float]:
        """Return the probability of each label."""
        ...

    def learn_one(self, x: dict[str, float], y: bool) -> None:  # noqa: FBT001 - river's signature
        """Learn from one event."""
        ...


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Scaler(_State):
    part: Literal["StandardScaler"]
    counts: dict[str, Count]
    means: dict[str, Number]
    vars: dict[str, Number]


class _Regression(_State):
    part: Literal["LogisticRegression"]
    weights: dict[str, Number]
    intercept: Number


class _File(_State):
    format: Annotated[int, Field(ge=1, le=1)] = 1
    scaler: _Scaler | None
    regression: _Regression


class RiverModel:
    """A Model around an online model.

    Attributes:
        name, version, inputs: as its card says.
        online: river's own, for whoever lets it learn.
    """

    def __init__(self, online: Online, card: ModelCard) -> None:
        self.name = card.name
        self.version = card.version
        self.inputs = card.inputs
        self.online = online

    @classmethod
    def load(cls, data: bytes, card: ModelCard) -> "RiverModel":
        """Load a model from what `river_state` wrote.

        Raises:
            UsageError: it is of another hash, no such state, or river is not installed.
        """
        found = sha256(data).hexdigest()
        if found != card.sha256:
            what = f"has sha256 {found}, expected {card.sha256}"
            raise UsageError(f"model {card.version}: its file {what}")
        if len(data) > _FILE_BYTES_MAX:
            raise UsageError(f"model {card.version}: its file has {len(data)} bytes")
        try:
            state = _File.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise UsageError(f"model {card.version}: {where}: {first['msg']}") from error
        return cls(_restored(state), card)

    async def answer(self, inputs: Matrix) -> Scores:
        """Return the probability of `true` per row of `inputs` (rows, len(self.inputs))."""
        names, tell = self.inputs, self.online.predict_proba_one
        rows = inputs.tolist()
        scores = [tell(dict(zip(names, row, strict=True))).get(True, 0.5) for row in rows]
        return np.array(scores, np.float64)


def river_state(online: object) -> bytes:
    """Return what a model has learnt, as JSON; the same state gives the same bytes.

    Raises:
        UsageError: it has a part whose state cannot be written.
    """
    steps: dict[str, Any] = dict(getattr(online, "steps", {})) or {"": online}
    parts = {type(step).__name__: step for step in steps.values()}
    unknown = sorted(set(parts) - {"StandardScaler", "LogisticRegression"})
    if unknown or "LogisticRegression" not in parts or len(parts) != len(steps):
        said = ", ".join(unknown or parts)
        raise UsageError(
            f"the state of {said} cannot be written without pickle; "
            "use StandardScaler | LogisticRegression"
        )
    scaler, regression = parts.get("StandardScaler"), parts["LogisticRegression"]
    state = _File(
        scaler=None
        if scaler is None
        else _Scaler(
            part="StandardScaler",
            counts=dict(sorted(scaler.counts.items())),
            means=dict(sorted(scaler.means.items())),
            vars=dict(sorted(scaler.vars.items())),
        ),
        regression=_Regression(
            part="LogisticRegression",
            weights=dict(sorted(regression.weights.items())),
            intercept=float(regression.intercept),
        ),
    )
    return state.model_dump_json().encode()


def _restored(state: _File) -> Online:
    try:
        linear, preprocessing, compose = (
            importlib.import_module(f"river.{room}")
            for room in ("linear_model", "preprocessing", "compose")
        )
    except ImportError as error:
        raise UsageError("river is not installed; install batuta[river]") from error
    regression = linear.LogisticRegression(intercept_init=state.regression.intercept)
    # river has no other way to give weights back.
    for name, weight in state.regression.weights.items():
        regression._weights[name] = weight  # noqa: SLF001
    if state.scaler is None:
        return cast("Online", regression)
    scaler = preprocessing.StandardScaler()
    scaler.counts.update(state.scaler.counts)
    scaler.means.update(state.scaler.means)
    scaler.vars.update(state.scaler.vars)
    return cast("Online", compose.Pipeline(scaler, regression))
