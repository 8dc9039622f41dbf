"""Models in ONNX files, run in this process by ONNX Runtime on one thread.

A file is loaded only after its sha256 was compared with its card's, and used only after its inputs
were compared and a warm-up batch was answered. Batches are answered inline: a hand-over to a thread
cost 40 us more for one row and 10 % more for 2,000, and Python waits for either.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
import onnxruntime

from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.port import Matrix, Scores
from batuta.schemas.errors import UsageError

__all__ = ["OnnxModel"]

_WARM_UP_ROWS: Final = (1, 64)
_ERRORS_ONLY: Final = 3


class _Port(Protocol):
    name: str
    type: str
    shape: list[int | str | None]


class _Session(Protocol):
    def get_inputs(self) -> list[_Port]: ...

    def get_outputs(self) -> list[_Port]: ...

    def run(self, outputs: list[str], inputs: dict[str, Matrix]) -> list[Matrix]: ...


class OnnxModel:
    """A Model: one float input of (rows, features), its last output one score or two probabilities.

    Attributes:
        name, version, inputs: as its card says.
    """

    def __init__(self, data: bytes, card: ModelCard) -> None:
        """Check and open a model; `OnnxModel.load` is the door for files.

        Raises:
            UsageError: this is not a model of the shape its card describes.
        """
        self.name = card.name
        self.version = card.version
        self.inputs = card.inputs
        self._session = _open(data, card)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[-1].name
        self._check(card)

    @classmethod
    def of(cls, trained: TrainedModel) -> "OnnxModel":
        """Return a model that was trained here.

        Raises:
            UsageError: it is no such model.
        """
        return cls(trained.data, trained.card)

    @classmethod
    def load(cls, model: Path | bytes, card: ModelCard) -> "OnnxModel":
        """Load a model from a file or its bytes.

        Raises:
            UsageError: it cannot be read, is not the file its card names, or is no such model.
        """
        name, data = (str(model), _read(model)) if isinstance(model, Path) else ("bytes", model)
        found = sha256(data).hexdigest()
        if found != card.sha256:
            raise UsageError(
                f"model {card.version}: {name} has sha256 {found}, expected {card.sha256}; "
                "the file was changed or belongs to another card"
            )
        return cls(data, card)

    async def answer(self, inputs: Matrix) -> Scores:
        """Return one score from 0 to 1 per row of `inputs` (rows, len(self.inputs))."""
        return self._run(inputs)

    def _run(self, inputs: Matrix) -> Scores:
        feed = np.ascontiguousarray(inputs, np.float32)
        answer = self._session.run([self._output], {self._input: feed})[0]
        return answer.reshape(len(feed), -1)[:, -1].astype(np.float64)

    def _check(self, card: ModelCard) -> None:
        ports, wanted = self._session.get_inputs(), len(card.inputs)
        if len(ports) != 1 or ports[0].type != "tensor(float)" or ports[0].shape[-1] != wanted:
            found = ", ".join(f"{port.name}: {port.type} {port.shape}" for port in ports)
            raise UsageError(
                f"model {card.version} takes {found}; its card names one float input "
                f"of {wanted} features: {', '.join(card.inputs)}"
            )
        for rows in _WARM_UP_ROWS:
            scores = self._run(np.zeros((rows, wanted), np.float32))
            if scores.shape != (rows,) or not bool(np.all((scores >= 0) & (scores <= 1))):
                raise UsageError(f"model {card.version} does not answer with scores from 0 to 1")


def _open(data: bytes, card: ModelCard) -> _Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors share no base but this
        raise UsageError(f"model {card.version} is no ONNX model: {error}") from error
    return cast("_Session", session)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"model file {path} cannot be read: {error.strerror}") from error
