"""Classifiers of texts: the same file each time, read only as what it is, sure only where right."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.agents.models.text_classifier import TextClassifier, TextPlan, fit_texts, grams_of
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.text import TextModel
from batuta.streams.model_store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {
    "card": (
        "my card is lost",
        "I lost a card",
        "the card was stolen",
        "card gone",
        "lost my card",
    ),
    "fee": (
        "what is this fee",
        "a fee was charged",
        "why a fee",
        "fees are wrong",
        "the fee again",
    ),
    "login": ("cannot log in", "login fails", "the login is broken", "log in again", "no login"),
}
TEXTS = [text for texts in WANTED.values() for text in texts]
LABELS = [label for label, texts in WANTED.items() for _ in texts]
PLAN = TextPlan(texts_min=1)
FITTED = fit_texts(TEXTS, LABELS, PLAN)
DATA = FITTED.to_bytes()


def card_of(data: bytes, *reads: str) -> ModelCard:
    return ModelCard(
        name="intents",
        pipeline="support",
        sha256=sha256(data).hexdigest(),
        inputs=reads or ("event.text",),
        format="text",
        algorithm="linear",
    )


def test_the_same_texts_give_the_same_file_and_it_says_the_same() -> None:
    assert fit_texts(TEXTS, LABELS, PLAN).to_bytes() == DATA
    read = TextClassifier.from_bytes(DATA)
    assert read.labels == ("card", "fee", "login")
    assert np.array_equal(read.probabilities(TEXTS), FITTED.probabilities(TEXTS))


def test_typing_errors_are_forgiven_and_what_says_nothing_is_as_likely_anything() -> None:
    found = FITTED.probabilities(["I losst my crad", "a fe was chargd", ""])
    assert [FITTED.labels[best] for best in found[:2].argmax(axis=1)] == ["card", "fee"]
    assert found[2].max() < 0.6


@given(st.lists(st.text(max_size=60), max_size=5))
def test_probabilities_of_any_texts_sum_to_one_and_each_text_is_judged_alone(
    texts: list[str],
) -> None:
    found = FITTED.probabilities(texts)
    assert found.shape == (len(texts), 3)
    assert np.allclose(found.sum(axis=1), 1.0)
    for text, row in zip(texts, found, strict=True):
        assert np.array_equal(FITTED.probabilities([text])[0], row)


def test_terms_are_words_pairs_and_pieces() -> None:
    terms = grams_of("Lost it")
    assert {"\tlost", "\tit", "\tlost it", " lo", "lost", " lost", " it "} <= {*terms}
    assert terms.count(" it ") == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", DATA[: len(DATA) // 2], sha256(DATA).digest() * 50],
    ids=["empty", "nonsense", "half", "noise"],
)
def test_what_is_no_classifier_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="train it anew"):
        TextModel.load(data, card_of(data))


def test_weights_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="are wanted"):
        replace(FITTED, labels=FITTED.labels[:2])
    with pytest.raises(ValueError, match="no finite number"):
        replace(FITTED, bias=FITTED.bias * np.float32("nan"))


def test_too_few_labels_teach_nothing() -> None:
    with pytest.raises(ValueError, match="three are needed"):
        fit_texts(TEXTS[:10], LABELS[:10], PLAN)


def test_a_file_is_loaded_by_its_hash_alone(tmp_path: Path) -> None:
    store, card = ModelStore(tmp_path), card_of(DATA)
    path = store.save(TrainedModel(DATA, card))
    assert path.suffix == ".npz"
    model = TextModel.load(path, card)
    rows = [
        {"event.text": "my card is lost"},
        {"event.text": None},
        {"event.text": {"text": "fee"}},
    ]
    answers = asyncio.run(model.answer_rows(rows))
    assert [answers.evidence[row] for row in (0, 2)] == ["card", "fee"]
    assert answers.values[0]["label"] == "card"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(UsageError, match="has sha256"):
        TextModel.load(path, card)
    with pytest.raises(UsageError, match="cannot be read"):
        TextModel.load(tmp_path / "none.npz", card)
    with pytest.raises(UsageError, match="reads one text"):
        TextModel.load(DATA, card_of(DATA, "event.text", "cleaner.value"))
