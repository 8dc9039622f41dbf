"""A model understands an event before its plan is chosen: rules go by what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Open = Callable[..., Any]

PLANNED = """\
  among: [static]
  planner:
    ask: strategist
    allow: [cheap, strong, reader, dear, analyst]
    price: 0.02 EUR
    depth: 4
    steps: 12
    size: 2KiB
    replans: 0
"""
RULED = """\
  among: [static, twice]
  weights: {static: 1, twice: 1}
  rules:
    - {when: "heavy > 0.5 && sureness > 0.8", among: [twice]}
    - {when: "true", among: [static]}
"""
#: A model that was fitted beforehand: how likely a letter is heavy, and how sure that is.
MODEL = """
import numpy as np
from sklearn.linear_model import LogisticRegression


class Weigher:
    names = ("heavy", "sureness")

    def __init__(self):
        sizes = np.array([[0.0], [1.0], [9.0], [10.0]])
        self._model = LogisticRegression(C=100.0).fit(sizes, [False, False, True, True])

    def compute(self, events):
        if any(event.data["size"] < 0.0 for event in events):
            raise ValueError("no letter weighs less than nothing")
        sizes = np.array([[event.data["size"]] for event in events])
        likely = self._model.predict_proba(sizes)[:, 1]
        return np.column_stack([likely, np.maximum(likely, 1.0 - likely)])
"""


@pytest.fixture
def understanding(desk: Open, tmp_path: Path) -> Any:
    """A desk whose letters are understood by a model."""
    (tmp_path / "weigher_parts.py").write_text(MODEL)
    entry = 'understand:\n  - weigher: {use: "weigher_parts:Weigher"}\nmodels:\n'
    return desk(PLANNED, RULED, "models:\n", entry)


def test_a_rule_narrows_by_what_a_model_has_understood(understanding: Any) -> None:
    letters = [understanding.letter() for _ in range(4)]
    for letter, size in zip(letters, (0.5, 9.5, 5.0, -1.0), strict=True):
        letter.data["size"] = size
    decisions = understanding.batch(letters)[0].decisions
    plans = [one.selection.plan for one in decisions]
    assert plans[:3] == ["static", "twice", "static"], "of the third it is not sure"
    assert {one.name for one in decisions[1].answers} == {"cheap", "reader"}
    light, heavy, unsure = (one.features for one in decisions[:3])
    assert light["heavy"] < 0.1
    assert heavy["heavy"] > 0.9
    assert unsure["sureness"] < 0.8
    # What it broke at is nobody else's trouble, and a person's to decide.
    broken = decisions[3]
    assert (broken.outcome, broken.reasons[0]) == ("review", "feature_failed")


def test_what_was_understood_leads_to_the_same_choice_again(understanding: Any) -> None:
    letters = [understanding.letter() for _ in range(20)]
    for number, letter in enumerate(letters):
        letter.data["size"] = float(number) / 2
    first = understanding.batch(letters)[0].decisions
    again = understanding.batch(letters[::-1])[0].decisions[::-1]
    assert [one.selection for one in first] == [one.selection for one in again]
    assert {one.selection.plan for one in first} == {"static", "twice"}
