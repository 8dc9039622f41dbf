"""A fitted classifier of scikit-learn's, whichever it is: its scores, and its file."""

from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.models.port import Matrix, Scores

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Classifier", "Fitted", "Labels"]

Labels = npt.NDArray[np.bool_]

_OPSET: Final = 17


class Classifier(Protocol):
    """What scikit-learn's classifiers do."""

    def fit(self, inputs: Matrix, labels: Labels) -> object:
        """Learn from rows and their labels."""
        ...

    def predict_proba(self, inputs: Matrix) -> Scores:
        """Return (rows, 2) probabilities of the label being false and true."""
        ...


class _OnnxFile(Protocol):
    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: N802


class Fitted:
    """A fitted classifier: scores, and the file that gives the same scores elsewhere."""

    def __init__(self, classifier: Classifier, inputs: int) -> None:
        self.classifier = classifier
        self._inputs = inputs

    def scores(self, inputs: Matrix) -> Scores:
        """Return the probability of each row's label being true."""
        return self.classifier.predict_proba(inputs)[:, 1]

    def to_onnx(self) -> bytes:
        """Return the ONNX file: one input, its second output (rows, 2) probabilities."""
        from skl2onnx import to_onnx  # noqa: PLC0415

        model = cast("Callable[..., _OnnxFile]", to_onnx)(
            self.classifier,
            np.zeros((1, self._inputs), np.float32),
            options={id(self.classifier): {"zipmap": False}},
            target_opset=_OPSET,
        )
        return model.SerializeToString(deterministic=True)
