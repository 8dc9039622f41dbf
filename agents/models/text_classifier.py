"""Linear classifiers of short texts: fitted by scikit-learn, handed on as plain arrays.

A text is the TF-IDF of its words, pairs of words, and pieces of words of 2 to 5 characters; words
and pieces are of unit length each. One weight vector per label (a linear support vector machine,
one against the rest) gives margins. How sure it is says a softmax of the margins times a scale,
which is fitted on texts that the margins were not. Pieces of words forgive typing errors.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, Protocol, cast
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from batuta.agents.history import Progress, never_told
from batuta.agents.models.answers import Scores

__all__ = ["TEXT_CHARACTERS_MAX", "TextClassifier", "TextPlan", "fit_texts", "grams_of"]

#: What stands further back in a text says no more about what it wants.
TEXT_CHARACTERS_MAX: Final = 4_000
_WORD: Final = re.compile(r"\w\w+")
_PIECES: Final = range(2, 6)
#: Marks pairs and words apart from pieces of words, which hold no such character.
_WHOLE: Final = "\t"
_SEPARATOR: Final = "\n"
#: Of fitting: terms, scale, weights.
_STEPS: Final = 3
_ARRAYS: Final = ("labels", "terms", "idf", "weights", "bias", "scale")
Floats = npt.NDArray[np.float32]


def grams_of(text: str) -> list[str]:
    r"""Return the terms of a text, each as often as it stands there.

    >>> grams_of("a cat")[:3]
    ['\tcat', ' a', 'a ']
    """
    lowered = text[:TEXT_CHARACTERS_MAX].lower()
    words = _WORD.findall(lowered)
    terms = [_WHOLE + word for word in words]
    terms += [f"{_WHOLE}{one} {two}" for one, two in pairwise(words)]
    for word in lowered.split():
        padded = f" {word} "
        for size in _PIECES:
            if size >= len(padded):
                terms.append(padded)
                break
            terms += [padded[at : at + size] for at in range(len(padded) - size + 1)]
    return terms


@dataclass(frozen=True)
class TextClassifier:
    """A fitted classifier.

    Attributes:
        labels: what a text may be.
        terms: that count, each at its column.
        idf: (terms,) what each weighs.
        weights: (terms, labels).
        bias: (labels,).
        scale: of margins, before their softmax.
    """

    labels: tuple[str, ...]
    terms: tuple[str, ...]
    idf: Floats
    weights: Floats
    bias: Floats
    scale: float

    def __post_init__(self) -> None:
        shape = (len(self.terms), len(self.labels))
        fits = self.weights.shape == shape and self.bias.shape == shape[1:]
        if not fits or self.idf.shape != shape[:1] or not self.labels:
            raise ValueError(f"weights of {self.weights.shape}, where {shape} are wanted")
        if not all(np.isfinite(one).all() for one in (self.idf, self.weights, self.bias)):
            raise ValueError("a weight that is no finite number")

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Return (texts, labels), each row summing to 1."""
        if not texts:
            return np.empty((0, len(self.labels)))
        margins = np.array([self._margins(text) for text in texts], np.float64) * self.scale
        margins -= margins.max(axis=1, keepdims=True)
        powers: Scores = np.exp(margins)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)

    def _margins(self, text: str) -> npt.NDArray[np.float64]:
        columns, values = _row(text, self._columns, self.idf)
        return np.asarray(values @ self.weights[columns] + self.bias, np.float64)

    def to_bytes(self) -> bytes:
        """Return the file: arrays of numbers and bytes, nothing that could run."""
        into = io.BytesIO()
        np.savez_compressed(
            into,
            labels=_packed(self.labels),
            terms=_packed(self.terms),
            idf=self.idf,
            weights=self.weights,
            bias=self.bias,
            scale=np.array([self.scale]),
        )
        return into.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "TextClassifier":
        """Return what `to_bytes` wrote.

        Raises:
            ValueError: it is no such file.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                found = {name: held[name] for name in _ARRAYS}
        except (KeyError, OSError, EOFError, BadZipFile) as error:
            raise ValueError(f"no classifier of texts: {error}") from error
        idf, weights, bias = (found[name].astype(np.float32) for name in ("idf", "weights", "bias"))
        labels, terms = _unpacked(found["labels"]), _unpacked(found["terms"])
        return cls(labels, terms, idf, weights, bias, float(found["scale"][0]))


@dataclass(frozen=True, slots=True)
class TextPlan:
    """How a classifier is fitted.

    Attributes:
        texts_min: a term counts that stands in so many texts.
        cost: of a text on the wrong side; the lower, the simpler the classifier.
        folds: one of so many parts of the texts is held out, to find the scale of margins by.
        tolerance: at which fitting stops.
        seed: the same seed and texts give the same classifier.
    """

    texts_min: int = 2
    cost: float = 1.0
    folds: int = 3
    tolerance: float = 1e-2
    seed: int = 0


class _Rows(Protocol):
    """A sparse matrix."""

    indices: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int32]

    def __getitem__(self, places: npt.NDArray[np.intp]) -> "_Rows": ...


class _Vectorizer(Protocol):
    def fit_transform(self, rows: Sequence[Mapping[str, float]]) -> _Rows: ...


class _Linear(Protocol):
    coef_: npt.NDArray[np.float64]
    intercept_: npt.NDArray[np.float64]
    classes_: npt.NDArray[np.int64]

    def fit(self, inputs: _Rows, labels: npt.NDArray[np.int64]) -> object: ...

    def decision_function(self, inputs: _Rows) -> npt.NDArray[np.float64]: ...


def fit_texts(
    texts: Sequence[str],
    labels: Sequence[str],
    plan: TextPlan,
    progress: Progress = never_told,
) -> TextClassifier:
    """Fit a classifier to texts and their labels, three labels at least.

    Raises:
        ValueError: there are too few labels, or texts of one.
    """
    names = tuple(sorted(set(labels)))
    places = {name: place for place, name in enumerate(names)}
    targets = np.array([places[label] for label in labels], np.int64)
    if len(names) < 3 or np.bincount(targets).min() < plan.folds:  # noqa: PLR2004
        said = f"{len(names)} labels; three are needed at least, of {plan.folds} texts each"
        raise ValueError(said)
    terms, idf = _vocabulary(texts, plan.texts_min)
    rows = _matrix(texts, terms, idf)
    progress(1, _STEPS)
    scale = _scale(rows, targets, plan)
    progress(2, _STEPS)
    fitted = _fitted(rows, targets, plan)
    progress(_STEPS, _STEPS)
    weights = np.ascontiguousarray(fitted.coef_.T, np.float32)
    bias = fitted.intercept_.astype(np.float32)
    return TextClassifier(names, tuple(terms), idf, weights, bias, scale)


def _vocabulary(texts: Sequence[str], texts_min: int) -> tuple[dict[str, int], Floats]:
    held: Counter[str] = Counter()
    for text in texts:
        held.update(set(grams_of(text)))
    kept = sorted(term for term, count in held.items() if count >= texts_min)
    counts = np.array([held[term] for term in kept], np.float64)
    idf = np.log((1.0 + len(texts)) / (1.0 + counts)) + 1.0
    return {term: place for place, term in enumerate(kept)}, idf.astype(np.float32)


def _row(
    text: str, columns: dict[str, int], idf: Floats
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return the columns of a text's terms, and what each weighs."""
    counts = Counter(term for term in grams_of(text) if term in columns)
    whole = np.array([term.startswith(_WHOLE) for term in counts], np.bool_)
    found = np.array([columns[term] for term in counts], np.intp)
    values = (1.0 + np.log(np.array(list(counts.values()), np.float64))) * idf[found]
    for kind in (whole, ~whole):
        length = float(np.sqrt((values[kind] ** 2).sum()))
        values[kind] /= length or 1.0
    return found, values.astype(np.float32)


def _matrix(texts: Iterable[str], terms: dict[str, int], idf: Floats) -> _Rows:
    """Return (texts, terms); the vectorizer sorts terms as they are sorted already."""
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415 - half a second

    names = list(terms)
    rows = [
        {names[column]: float(value) for column, value in zip(*_row(text, terms, idf), strict=True)}
        for text in texts
    ]
    found = cast("Callable[..., _Vectorizer]", DictVectorizer)().fit_transform(rows)
    # What is fitted takes no others.
    found.indices, found.indptr = (one.astype(np.int32) for one in (found.indices, found.indptr))
    return found


def _fitted(rows: _Rows, targets: npt.NDArray[np.int64], plan: TextPlan) -> _Linear:
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - half a second that others do not need

    made = cast("Callable[..., _Linear]", LinearSVC)(
        C=plan.cost, tol=plan.tolerance, random_state=plan.seed
    )
    made.fit(rows, targets)
    return made


def _scale(rows: _Rows, targets: npt.NDArray[np.int64], plan: TextPlan) -> float:
    """Return the scale of margins under which held-out labels are likeliest."""
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415

    drawn = StratifiedKFold(plan.folds, shuffle=True, random_state=plan.seed)
    past, held_out = next(iter(drawn.split(targets[:, None], targets)))
    fitted = _fitted(rows[past], targets[past], plan)
    return _likeliest(fitted.decision_function(rows[held_out]), targets[held_out])


def _likeliest(margins: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    scales = np.geomspace(0.5, 50.0, 60)
    found: list[float] = []
    for scale in scales:
        scaled = margins * scale
        scaled -= scaled.max(axis=1, keepdims=True)
        own = scaled[np.arange(len(labels)), labels]
        found.append(float((own - np.log(np.exp(scaled).sum(axis=1))).mean()))
    return float(scales[int(np.argmax(found))])


def _packed(names: Sequence[str]) -> npt.NDArray[np.uint8]:
    assert not any(_SEPARATOR in name for name in names), "a name of several lines"
    return np.frombuffer(_SEPARATOR.join(names).encode(), np.uint8)


def _unpacked(packed: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(packed.astype(np.uint8).tobytes().decode().split(_SEPARATOR))
