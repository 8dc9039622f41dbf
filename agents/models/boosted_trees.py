"""Gradient boosted trees: fitted by scikit-learn, handed on as ONNX bytes, never pickled.

The method: Friedman, Greedy Function Approximation (2001), on binned features as in LightGBM (Ke et
al., 2017). scikit-learn and its converter take two seconds to import, so only fitting imports them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.models.port import Matrix, Scores

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Fitted", "Labels", "TreePlan", "fit"]

Labels = npt.NDArray[np.bool_]

_OPSET: Final = 17
_STOCK_CONVERTER: Final = "SklearnHistGradientBoostingClassifier"
_CONVERTER: Final = "BatutaBoostedTrees"


@dataclass(frozen=True, slots=True)
class TreePlan:
    """How many trees, and how fine each may be."""

    trees: int = 100
    leaves: int = 15
    leaf_rows_min: int = 40


class _Classifier(Protocol):
    def fit(self, inputs: Matrix, labels: Labels) -> object: ...

    def predict_proba(self, inputs: Matrix) -> Scores: ...


class _OnnxFile(Protocol):
    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: N802


class _Container(Protocol):
    def add_node(self, op_type: str, *parts: object, **attributes: object) -> None: ...


class Fitted:
    """A fitted classifier: scores, and the file that gives the same scores elsewhere."""

    def __init__(self, classifier: _Classifier, inputs: int) -> None:
        self._classifier = classifier
        self._inputs = inputs

    def scores(self, inputs: Matrix) -> Scores:
        """Return the probability of each row's label being true."""
        return self._classifier.predict_proba(inputs)[:, 1]

    def to_onnx(self) -> bytes:
        """Return the ONNX file: one input, its second output (rows, 2) probabilities."""
        from skl2onnx import to_onnx, update_registered_converter  # noqa: PLC0415
        from skl2onnx.common._registration import (  # noqa: PLC0415
            get_converter,
            get_shape_calculator,
        )

        convert = get_converter(_STOCK_CONVERTER)

        def convert_whole(scope: object, operator: object, container: _Container) -> None:
            convert(scope, operator, _WholeNumbers(container))

        update_registered_converter(
            type(self._classifier),
            _CONVERTER,
            get_shape_calculator(_STOCK_CONVERTER),
            convert_whole,
            options=convert.get_allowed_options(),
        )
        model = cast("Callable[..., _OnnxFile]", to_onnx)(
            self._classifier,
            np.zeros((1, self._inputs), np.float32),
            options={id(self._classifier): {"zipmap": False}},
            target_opset=_OPSET,
        )
        return model.SerializeToString(deterministic=True)


class _WholeNumbers:
    """A converter's container that takes truth values where ONNX wants whole numbers.

    The converter marks leaves with False, which newer protobuf releases refuse.
    """

    def __init__(self, container: _Container) -> None:
        self._container = container

    def __getattr__(self, name: str) -> object:
        return getattr(self._container, name)

    def add_node(self, op_type: str, *parts: object, **attributes: object) -> None:
        tracks = attributes.get("nodes_missing_value_tracks_true")
        if isinstance(tracks, list):
            values = cast("list[int]", tracks)
            attributes["nodes_missing_value_tracks_true"] = [int(value) for value in values]
        self._container.add_node(op_type, *parts, **attributes)


def fit(inputs: Matrix, labels: Labels, plan: TreePlan) -> Fitted:
    """Fit trees to rows of `inputs` and whether each row's label is true; deterministic."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    classifier = cast("Callable[..., _Classifier]", HistGradientBoostingClassifier)(
        max_iter=plan.trees,
        max_leaf_nodes=plan.leaves,
        min_samples_leaf=plan.leaf_rows_min,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for each other spin
        classifier.fit(inputs, labels)
    return Fitted(classifier, inputs.shape[1])
