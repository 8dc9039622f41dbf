"""Gradient boosted trees: fitted by scikit-learn, handed on as ONNX bytes, never pickled.

The method: Friedman, Greedy Function Approximation (2001), on binned features as in LightGBM (Ke et
al., 2017). scikit-learn and its converter take two seconds to import, so only fitting imports them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from batuta.agents.models.fitted import Classifier, Fitted, Labels
from batuta.agents.models.port import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FittedTrees", "TreePlan", "fit"]

_STOCK_CONVERTER: Final = "SklearnHistGradientBoostingClassifier"
_CONVERTER: Final = "BatutaBoostedTrees"


@dataclass(frozen=True, slots=True)
class TreePlan:
    """How many trees, and how fine each may be."""

    trees: int = 100
    leaves: int = 15
    leaf_rows_min: int = 40


class _Container(Protocol):
    def add_node(self, op_type: str, *parts: object, **attributes: object) -> None: ...


class FittedTrees(Fitted):
    """Fitted boosted trees."""

    def to_onnx(self) -> bytes:
        """Return the ONNX file: one input, its second output (rows, 2) probabilities."""
        from skl2onnx import update_registered_converter  # noqa: PLC0415
        from skl2onnx.common._registration import (  # noqa: PLC0415
            get_converter,
            get_shape_calculator,
        )

        convert = get_converter(_STOCK_CONVERTER)

        def convert_whole(scope: object, operator: object, container: _Container) -> None:
            convert(scope, operator, _WholeNumbers(container))

        update_registered_converter(
            type(self.classifier),
            _CONVERTER,
            get_shape_calculator(_STOCK_CONVERTER),
            convert_whole,
            options=convert.get_allowed_options(),
        )
        return super().to_onnx()


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


def fit(inputs: Matrix, labels: Labels, plan: TreePlan) -> FittedTrees:
    """Fit trees to rows of `inputs` and whether each row's label is true; deterministic."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    classifier = cast("Callable[..., Classifier]", HistGradientBoostingClassifier)(
        max_iter=plan.trees,
        max_leaf_nodes=plan.leaves,
        min_samples_leaf=plan.leaf_rows_min,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for each other spin
        classifier.fit(inputs, labels)
    return FittedTrees(classifier, inputs.shape[1])
