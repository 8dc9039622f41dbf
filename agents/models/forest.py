"""Mixed forests: fitted by scikit-learn, handed on as ONNX bytes, never pickled.

Half of the trees are grown as a random forest's (Breiman, Random Forests, 2001), from drawn rows by
the best splits of drawn features; half are extremely randomised (Geurts, Ernst and Wehenkel, 2006),
from all rows by drawn splits. The first rank the top of a list better, the second its rest; their
mean did as well as the better of the two at both. Each leaf keeps a few rows at least, so that a
score is a share of like rows and not the memory of one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from batuta.agents.models.boosted_trees import Labels
from batuta.agents.models.port import Matrix, Scores

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FittedForest", "ForestPlan", "fit_forest"]

_OPSET: Final = 17


@dataclass(frozen=True, slots=True)
class ForestPlan:
    """How many trees, how fine each may be, and what they are drawn from.

    Attributes:
        trees: an even number.
        leaf_rows_min: rows in a leaf.
        features_share: how many of the features a random forest's split is chosen from.
        seed: the same seed and rows give the same forest.
    """

    trees: int = 100
    leaf_rows_min: int = 3
    features_share: float = 0.4
    seed: int = 0


class _Classifier(Protocol):
    estimators_: list[object]

    def fit(self, inputs: Matrix, labels: Labels) -> object: ...

    def predict_proba(self, inputs: Matrix) -> Scores: ...


class _OnnxFile(Protocol):
    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: N802


class FittedForest:
    """A fitted forest: scores, and the file that gives the same scores elsewhere."""

    def __init__(self, classifier: _Classifier, inputs: int) -> None:
        self._classifier = classifier
        self._inputs = inputs

    def scores(self, inputs: Matrix) -> Scores:
        """Return the probability of each row's label being true."""
        return self._classifier.predict_proba(inputs)[:, 1]

    def to_onnx(self) -> bytes:
        """Return the ONNX file: one input, its second output (rows, 2) probabilities."""
        from skl2onnx import to_onnx  # noqa: PLC0415

        model = cast("Callable[..., _OnnxFile]", to_onnx)(
            self._classifier,
            np.zeros((1, self._inputs), np.float32),
            options={id(self._classifier): {"zipmap": False}},
            target_opset=_OPSET,
        )
        return model.SerializeToString(deterministic=True)


def fit_forest(inputs: Matrix, labels: Labels, plan: ForestPlan) -> FittedForest:
    """Fit a forest to rows of `inputs` and whether each row's label is true."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: PLC0415

    half = plan.trees // 2
    assert plan.trees == 2 * half, plan
    mixed = cast("Callable[..., _Classifier]", RandomForestClassifier)(
        n_estimators=half,
        min_samples_leaf=plan.leaf_rows_min,
        max_features=plan.features_share,
        random_state=plan.seed,
    )
    randomised = cast("Callable[..., _Classifier]", ExtraTreesClassifier)(
        n_estimators=half, min_samples_leaf=plan.leaf_rows_min, random_state=plan.seed
    )
    mixed.fit(inputs, labels)
    randomised.fit(inputs, labels)
    # A forest's score is the mean of its trees', wherever these were grown.
    mixed.estimators_ = [*mixed.estimators_, *randomised.estimators_]
    return FittedForest(mixed, inputs.shape[1])
