"""Banking questions are understood as well as words allow, and planted faults are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.models.text_classifier import TextClassifier
from batuta.agents.support.history import SupportHistory
from batuta.streams.data.histories import read_history
from batuta.streams.pipelines.finding import find_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.support.data import Messages


@pytest.fixture(scope="module")
def messages(banking_dir: Path) -> Messages:
    return read_history(SupportHistory(), banking_dir)


def test_the_questions_are_the_published_ones(messages: Messages) -> None:
    assert (len(messages.past_texts), len(messages)) == (10_003, 3_080)
    assert len(set(messages.labels)) == 77
    assert len(messages.policies) == 55
    assert all(one.steps for one in messages.policies)


def test_questions_are_understood_and_planted_faults_found(messages: Messages) -> None:
    mapping = SupportHistory()
    trained = mapping.train(messages, Weeks(0), 0)
    classifier = TextClassifier.from_bytes(trained.data)
    best = classifier.probabilities(messages.texts).argmax(axis=1).tolist()
    plans = [*find_pipeline("support").loaded.plan.delegating.plans.values()]
    labels = [classifier.labels[place] for place in best]
    found = mapping.measure_labels(messages, labels, plans)
    assert found.metrics["accuracy"] >= 0.91
    assert found.facts["planted_drafts"] == 1_000
    assert found.metrics["violations_found"] >= 0.95
    assert found.metrics["false_alarms"] <= 0.05
