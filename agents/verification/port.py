"""The port for checks: a batch of answers in, one code per answer out: passed, or why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores
from batuta.agents.policy.names import Rows
from batuta.agents.understanding.features import Features
from batuta.schemas.ingested import Ingested

__all__ = [
    "BatchCheck",
    "CheckBatch",
    "Codes",
    "Verdict",
    "is_blank",
    "passed",
    "text_of",
    "texts_of",
]

#: Of each answer: 0 passed; k failed for the k-th of the check's reasons.
Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class CheckBatch:
    """Answers that are to be checked, one per event.

    Attributes:
        events: in order.
        scores, confidence: (events,) of the step that is checked.
        features: (events, columns) what models saw.
        compared: by model of the step, (events,) its score; NaN where it has no answer.
        values: by model, what it answered beside a score, per event; None where nothing.
        rows: the same as expressions see it: fields, features, `score`, `confidence`,
            `contradiction`.
        answers: what whoever answered for the step said beside its score, per event; None where
            nothing, or where it was no one alone. Empty: nobody was asked for it.
    """

    events: Sequence[Ingested]
    scores: Scores
    confidence: Scores
    features: Features
    compared: Mapping[str, Scores]
    values: Mapping[str, Sequence[object]]
    rows: Rows
    answers: Sequence[object] = ()

    def __len__(self) -> int:
        """Return how many answers there are."""
        return len(self.events)

    def values_of(self, model: str) -> Sequence[object]:
        """Return what a model answered, None for each event where it said nothing.

        Without a name: what whoever answered for the step did.
        """
        found = self.values.get(model) if model else self.answers
        return found or [None] * len(self)


class Verdict(NamedTuple):
    """What a check found.

    Attributes:
        codes: (events,).
        critiques: of some that failed, what is wrong, in words that a model can act on.
    """

    codes: Codes
    critiques: Mapping[int, str] = {}


class BatchCheck(Protocol):
    """Judges a batch of answers."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The codes of what may be wrong, lower case, distinct; at most 100."""
        ...

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each answer whether it passes; the same whatever stands beside it."""
        ...


def passed(rows: int) -> Codes:
    """Return the codes of answers that all pass.

    >>> passed(2).tolist()
    [0, 0]
    """
    return np.zeros(rows, np.int8)


def text_of(value: object) -> str:
    """Return the text of an answer: itself, or what stands under `text`; empty where there is none.

    >>> text_of({"text": "Hello."}), text_of(None)
    ('Hello.', '')
    """
    if isinstance(value, Mapping):
        value = cast("Mapping[str, object]", value).get("text")
    return value if isinstance(value, str) else ""


def is_blank(text: str) -> bool:
    r"""Say whether nothing of a text is to be seen: it is no text that a check could pass.

    >>> is_blank(" \u200b"), is_blank("Hi")
    (True, False)
    """
    return not any(one.isprintable() and not one.isspace() for one in text)


def texts_of(value: object) -> list[str]:
    """Return the texts of an answer that holds several, such as retrieved passages.

    >>> texts_of([{"text": "a"}, "b", 3])
    ['a', 'b']
    """
    found = cast("list[object]", value) if isinstance(value, list) else [value]
    return [text for one in found if (text := text_of(one))]
