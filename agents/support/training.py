"""Trains the classifier of intents: on labelled questions, or on the sample pipeline's own."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

import orjson

from batuta.agents.history import Progress, never_told
from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.text_classifier import TextPlan, fit_texts
from batuta.agents.support.generator import intended_samples
from batuta.agents.support.trainer import RECIPE

__all__ = ["train", "trained_on"]

_NAME: Final = "intents"
_PIPELINE: Final = "support"
_READS: Final = ("event.text",)
_SEED: Final = 20_180_401
_SAMPLES: Final = 2_000


def train(seed: int = _SEED) -> TrainedModel:
    """Train on generated messages; the same seed gives the same file with the same libraries."""
    found = [*islice(intended_samples(seed, 0), _SAMPLES)]
    texts = [str(orjson.loads(sample.data)["text"]) for _, sample in found]
    return _trained(texts, [intent for intent, _ in found], "generated", seed, never_told)


def trained_on(
    texts: Sequence[str], labels: Sequence[str], seed: int, progress: Progress = never_told
) -> TrainedModel:
    """Train on texts and their intents; the same arguments give the same file.

    Raises:
        ValueError: there are too few.
    """
    return _trained(texts, labels, "labelled questions", seed, progress)


def _trained(
    texts: Sequence[str], labels: Sequence[str], source: str, seed: int, progress: Progress
) -> TrainedModel:
    fitted = fit_texts(texts, labels, TextPlan(seed=seed), progress)
    data = fitted.to_bytes()
    card = ModelCard(
        name=_NAME,
        pipeline=_PIPELINE,
        sha256=sha256(data).hexdigest(),
        inputs=_READS,
        format="text",
        algorithm="linear support vector machines over words and pieces of words",
        recipe=RECIPE if source == "generated" else None,
        trained_on={
            "source": source,
            "seed": seed,
            "texts": len(texts),
            "labels": len(fitted.labels),
            "terms": len(fitted.terms),
        },
    )
    return TrainedModel(data, card)
