"""An online model's state travels as JSON, gives the same answers, and learns on from there."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from river import compose, linear_model, preprocessing, tree

from batuta.agents.models.card import ModelCard
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.river import RiverModel, river_state

ROWS = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
NAMES = ("a", "b")


def taught(*, scaled: bool) -> Any:
    regression = linear_model.LogisticRegression()
    model = compose.Pipeline(preprocessing.StandardScaler(), regression) if scaled else regression
    for row in ROWS.tolist():
        model.learn_one(dict(zip(NAMES, row, strict=True)), row[0] > 0)
    return model


def card(data: bytes) -> ModelCard:
    digest = sha256(data).hexdigest()
    return ModelCard(
        name="online", pipeline="crates", sha256=digest, inputs=NAMES, algorithm="river"
    )


@pytest.mark.parametrize("scaled", [True, False])
async def test_a_state_gives_the_same_answers_and_the_same_bytes(*, scaled: bool) -> None:
    online = taught(scaled=scaled)
    data = river_state(online)
    model = RiverModel.load(data, card(data))
    own = [
        online.predict_proba_one(dict(zip(NAMES, row, strict=True)))[True] for row in ROWS.tolist()
    ]
    assert (await model.answer(ROWS)).tolist() == own
    assert river_state(model.online) == data
    for learner in (online, model.online):
        learner.learn_one({"a": 1.0, "b": 0.5}, True)
    assert river_state(model.online) == river_state(online), "it learns otherwise from there"


def test_a_part_whose_state_cannot_be_written_is_refused() -> None:
    with pytest.raises(
        UsageError, match="HoeffdingTreeClassifier cannot be written without pickle"
    ):
        river_state(tree.HoeffdingTreeClassifier())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format: Input should be less than or equal to 1"),
        ({"regression": {"part": "Tree"}}, "regression.part"),
        ({"scaler": {"part": "StandardScaler"}}, "scaler.counts: Field required"),
        ({"os": "system"}, "os: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_no_state_is_refused(change: dict[str, object], said: str) -> None:
    data = json.dumps({**json.loads(river_state(taught(scaled=True))), **change}).encode()
    with pytest.raises(UsageError, match=said):
        RiverModel.load(data, card(data))


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"[]", b"null"])
def test_bytes_that_are_no_json_object_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="the file"):
        RiverModel.load(data, card(data))


def test_a_file_of_another_hash_is_refused() -> None:
    data = river_state(taught(scaled=True))
    with pytest.raises(UsageError, match="has sha256"):
        RiverModel.load(data + b" ", card(data))
