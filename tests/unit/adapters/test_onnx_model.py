"""Model files are used only if they are what their card says, and kept whole."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.models.boosted_trees import TreePlan, fit
from batuta.agents.models.card import ModelCard, TrainedModel
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.model_store import ModelStore, sample_model
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.compiler.compiling import Plan
    from batuta.agents.models.fitted import Fitted

INPUTS = ("height", "width", "depth")


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    random = np.random.default_rng(1)
    inputs = random.random((600, 3)).astype(np.float32)
    return fit(inputs, inputs[:, 0] > inputs[:, 1], TreePlan(trees=8, leaves=7, leaf_rows_min=5))


@pytest.fixture(scope="module")
def trained(fitted: Fitted) -> TrainedModel:
    data = fitted.to_onnx()
    return TrainedModel(data, card_of(data))


def card_of(data: bytes, inputs: tuple[str, ...] = INPUTS, recipe: int | None = None) -> ModelCard:
    return ModelCard(
        name="forest",
        pipeline="fraud",
        sha256=sha256(data).hexdigest(),
        inputs=inputs,
        algorithm="boosted trees",
        recipe=recipe,
    )


def test_the_file_scores_as_the_model_it_was_made_from(
    fitted: Fitted, trained: TrainedModel
) -> None:
    rows = np.random.default_rng(2).random((300, 3)).astype(np.float32)
    scores = asyncio.run(OnnxModel.load(trained.data, trained.card).answer(rows))
    assert scores.dtype == np.float64
    assert scores.shape == (300,)
    np.testing.assert_allclose(scores, fitted.scores(rows), atol=1e-6)
    assert scores.std() > 0.1


def test_a_model_carries_its_cards_name_version_and_inputs(trained: TrainedModel) -> None:
    model = OnnxModel.load(trained.data, trained.card)
    assert (model.name, model.inputs) == ("forest", INPUTS)
    assert model.version == f"forest@{sha256(trained.data).hexdigest()[:12]}"


def test_a_file_of_another_hash_is_refused_naming_file_expected_and_found(
    trained: TrainedModel, tmp_path: Path
) -> None:
    path = tmp_path / "swapped.onnx"
    path.write_bytes(trained.data + b"\0")
    with pytest.raises(UsageError) as refused:
        OnnxModel.load(path, trained.card)
    found = sha256(trained.data + b"\0").hexdigest()
    assert all(part in str(refused.value) for part in (str(path), trained.card.sha256, found))


def test_a_card_of_other_inputs_is_refused(trained: TrainedModel) -> None:
    with pytest.raises(UsageError, match="height, width"):
        OnnxModel.load(trained.data, card_of(trained.data, INPUTS[:2]))


def test_bytes_that_are_no_model_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ONNX model"):
        OnnxModel.load(b"nonsense", card_of(b"nonsense"))
    with pytest.raises(UsageError, match=r"gone\.onnx"):
        OnnxModel.load(tmp_path / "gone.onnx", card_of(b""))


def test_what_is_saved_is_loaded_again_under_its_hash(
    trained: TrainedModel, tmp_path: Path
) -> None:
    path = ModelStore(tmp_path).save(trained)
    assert path == tmp_path / "fraud" / f"forest-{trained.card.sha256[:12]}.onnx"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        path.with_suffix(".json").name,
        path.name,
        "latest.json",
    ]
    again = ModelStore(tmp_path)
    card = again.card("fraud")
    assert card == trained.card
    assert again.load(trained.card).version == trained.card.version
    assert again.card("parcels") is None


def test_a_model_that_was_changed_on_disk_is_refused(trained: TrainedModel, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    path = store.save(trained)
    path.write_bytes(trained.data[:-1] + b"?")
    with pytest.raises(UsageError, match="sha256"):
        store.load(trained.card)


def test_a_damaged_card_is_refused_by_its_name(trained: TrainedModel, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    latest = store.save(trained).with_name("latest.json")
    latest.write_text('{"name": "forest"}')
    with pytest.raises(UsageError, match=r"latest\.json"):
        store.card("fraud")


def test_a_directory_that_cannot_be_made_is_named(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file"):
        ModelStore(tmp_path / "file").save(trained)


@dataclass
class Recipe:
    """A trainer that counts how often it is asked."""

    recipe: int
    trained: TrainedModel
    runs: list[int] = field(default_factory=list[int])

    def train(self, plan: Plan) -> TrainedModel:
        self.runs.append(plan.pipeline.version)
        return replace(self.trained, card=card_of(self.trained.data, recipe=1))


def test_a_sample_model_is_trained_once_and_again_only_for_another_recipe(
    trained: TrainedModel, tmp_path: Path
) -> None:
    trainer = Recipe(1, trained)
    runs = trainer.runs
    shipped, told = replace(PIPELINES["fraud"], trainer=trainer), list[str]()
    first = sample_model(shipped, tmp_path, told.append)
    assert sample_model(shipped, tmp_path, told.append).version == first.version
    assert len(runs) == 1
    assert len(told) == 2
    assert first.version in told[1]
    trainer.recipe = 2
    sample_model(shipped, tmp_path)
    assert len(runs) == 2


def test_a_model_that_somebody_else_trained_is_kept(trained: TrainedModel, tmp_path: Path) -> None:
    ModelStore(tmp_path).save(trained)

    trainer = Recipe(1, trained)
    kept = sample_model(replace(PIPELINES["fraud"], trainer=trainer), tmp_path)
    assert not trainer.runs
    assert kept.version == trained.card.version
