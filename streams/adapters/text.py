"""Classifiers of texts, run in this process: which of its labels fits, and how surely.

A file is loaded only after its sha256 was compared with its card's. It holds arrays alone, and is
never unpickled.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from batuta.agents.models.answers import Answers
from batuta.agents.models.card import ModelCard
from batuta.agents.models.text_classifier import TextClassifier
from batuta.agents.verification.port import text_of
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.aside import Aside

__all__ = ["TextModel"]

_ALTERNATIVES: Final = 3


class TextModel:
    """A RowModel: the likeliest label of the one text that it reads.

    Its value is {"label": ..., "among": [[label, probability], ...]}, its evidence the label, its
    score and confidence the label's probability.

    Attributes:
        name, version, reads: as its card says.
    """

    def __init__(
        self, classifier: TextClassifier, card: ModelCard, timeout_ms: int = 1_000
    ) -> None:
        """Take a classifier and what is known of it."""
        self.name = card.name
        self.version = card.version
        self.reads = card.inputs
        self._classifier = classifier
        self._aside = Aside(card.name, timeout_ms / 1_000)

    @classmethod
    def load(cls, model: Path | bytes, card: ModelCard, timeout_ms: int = 1_000) -> "TextModel":
        """Load a model from a file or its bytes.

        Raises:
            UsageError: it cannot be read, is not the file its card names, or is no such model.
        """
        try:
            data = model if isinstance(model, bytes) else model.read_bytes()
        except OSError as error:
            raise UsageError(f"model file {model!s} cannot be read: {error.strerror}") from error
        if (found := sha256(data).hexdigest()) != card.sha256:
            raise UsageError(
                f"model {card.version} has sha256 {found}, expected {card.sha256}; "
                "the file was changed or belongs to another card"
            )
        if len(card.inputs) != 1:
            raise UsageError(f"model {card.version} reads one text, not {', '.join(card.inputs)}")
        try:
            return cls(TextClassifier.from_bytes(data), card, timeout_ms)
        except ValueError as error:
            raise UsageError(f"model {card.version}: {error}; train it anew") from error

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row; a row without text is as likely anything.

        Raises:
            TimeoutError: there was none in time.
        """
        answers = await self._aside.call(self._answers, rows)
        assert isinstance(answers, Answers)
        return answers

    def _answers(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        labels = self._classifier.labels
        # One value stands in each row, whatever a pipeline calls it.
        texts = [text_of(value) for row in rows for value in row.values()]
        found = self._classifier.probabilities(texts)
        order = (-found).argsort(axis=1, kind="stable")[:, :_ALTERNATIVES]
        values: list[dict[str, object]] = [
            {"label": labels[best[0]], "among": [[labels[n], round(row[n], 4)] for n in best]}
            for best, row in zip(order.tolist(), found.tolist(), strict=True)
        ]
        scores = found.max(axis=1, initial=0.0)
        return Answers(scores, scores, values, [str(value["label"]) for value in values])
