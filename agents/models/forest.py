"""Mixed forests: fitted by scikit-learn, handed on as ONNX bytes, never pickled.

Half of the trees are grown as a random forest's (Breiman, Random Forests, 2001), from drawn rows by
the best splits of drawn features; half are extremely randomised (Geurts, Ernst and Wehenkel, 2006),
from all rows by drawn splits. The first rank the top of a list better, the second its rest; their
mean did as well as the better of the two at both. Each leaf keeps a few rows at least, so that a
score is a share of like rows and not the memory of one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from batuta.agents.models.fitted import Classifier, Fitted, Labels
from batuta.agents.models.port import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ForestPlan", "fit_forest"]


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


class _Forest(Classifier, Protocol):
    estimators_: list[object]


def fit_forest(inputs: Matrix, labels: Labels, plan: ForestPlan) -> Fitted:
    """Fit a forest to rows of `inputs` and whether each row's label is true."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: PLC0415

    half = plan.trees // 2
    assert plan.trees == 2 * half, plan
    mixed = cast("Callable[..., _Forest]", RandomForestClassifier)(
        n_estimators=half,
        min_samples_leaf=plan.leaf_rows_min,
        max_features=plan.features_share,
        random_state=plan.seed,
    )
    randomised = cast("Callable[..., _Forest]", ExtraTreesClassifier)(
        n_estimators=half, min_samples_leaf=plan.leaf_rows_min, random_state=plan.seed
    )
    mixed.fit(inputs, labels)
    randomised.fit(inputs, labels)
    # A forest's score is the mean of its trees', wherever these were grown.
    mixed.estimators_ = [*mixed.estimators_, *randomised.estimators_]
    return Fitted(mixed, inputs.shape[1])
