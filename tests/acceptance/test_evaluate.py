"""A labelled history through the real topics: what is decided is what the tables say, to the bit.

The same with two workers one of which is killed on the way as with one, event for event: a label
counts exactly from when it was known on, however the lanes went.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.fraud.training_history import (
    HISTORY_INPUTS,
    FraudHistory,
    features_when_due,
    fit_forest_on,
)
from batuta.schemas.errors import UsageError
from batuta.schemas.topics import Topics
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.cli.app import app
from batuta.streams.data.histories import read_history
from batuta.streams.evaluation.session import WalkPlan, walk
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.finding import find_pipeline
from batuta.streams.settings import load_settings
from batuta.streams.topic_admin import declare_topics, present_topics

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.fraud.data import Transactions
    from batuta.agents.understanding.features import Features
    from batuta.streams.evaluation.crew import Crew

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WEEKS = Weeks(train_start=3)


async def test_every_decision_is_that_of_the_tables_through_a_kill_of_one_of_two_workers(
    small_history: Path, tmp_path: Path
) -> None:
    history = read_history(FraudHistory(), small_history)
    features = features_when_due(history)
    trained = fit_forest_on(history, features, WEEKS, 0)
    ModelStore(tmp_path).save(trained)
    model = OnnxModel.load(trained.data, trained.card)
    scores = await model.answer(features.astype(np.float32))
    killed: list[int] = []

    def kill_one(decided: int, crew: Crew) -> None:
        if decided > len(history) // 3 and not killed:
            killed.append(decided)
            crew.kill()

    pipeline = find_pipeline("fraud").loaded.pipeline
    with BrokerProcess() as broker:
        settings = load_settings(bootstrap=broker.bootstrap, log_level="error")
        settings = settings.model_copy(update={"model_dir": tmp_path})
        walked = await walk(WalkPlan("fraud", pipeline, history, settings, 2, kill_one))
    assert killed
    assert killed[0] < len(history)
    assert (walked.lost, walked.answers.doubled) == (0, 0)
    seen = walked.answers.features
    for column, name in enumerate(HISTORY_INPUTS):
        assert np.array_equal(seen[name], features[:, column]), name
    risky = features[:, HISTORY_INPUTS.index("terminal_risk_share_fraud_7d")]
    assert np.count_nonzero(risky) > 100, "labels counted"
    assert np.array_equal(walked.answers.scores, scores)


def test_the_command_prints_figures_costs_and_saves_the_curves(
    small_history: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    command = ["evaluate", "fraud", "--data", str(small_history), "--train-start", "3"]
    command += ["--seed", "4", "--models", "2"]
    told = CliRunner().invoke(app, [*command, "--page", str(page), "--json"])
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert set(result["metrics"]) == {"auc", "ap", "cp_at_100"}
    assert result["metrics"]["auc"] > 0.6
    assert (result["lost"], result["doubled"]) == (0, 0)
    history = read_history(FraudHistory(), small_history)
    assert result["events"] == len(history)
    features, each = features_when_due(history), result["models"]
    for one, seed in zip(each, (4, 5), strict=True):
        alone = figures_of(history, features, seed)
        assert one == {"seed": seed, "model": alone[0], "metrics": alone[1]}
    assert result["metrics"]["ap"] == np.mean([one["metrics"]["ap"] for one in each])
    assert result["events_per_second"] > 0
    stages = {"ingestion", "rekeying", "learning", "scoring", "runtime"}
    assert set(result["cpu_us_per_event"]) == stages
    assert min(result["cpu_us_per_event"].values()) >= 0
    assert "Precision and recall" in page.read_text("utf-8")
    assert "feature_differences" not in result


def figures_of(
    history: Transactions, features: Features, seed: int
) -> tuple[str, dict[str, float]]:
    """Return the version and the figures of a model by the tables alone."""
    trained = fit_forest_on(history, features, WEEKS, seed)
    model = OnnxModel.load(trained.data, trained.card)
    scores = asyncio.run(model.answer(features.astype(np.float32)))
    return model.version, dict(FraudHistory().measure(history, WEEKS, scores).metrics)


def test_a_test_that_the_history_does_not_reach_is_refused_before_it_is_walked(
    small_history: Path,
) -> None:
    command = ["evaluate", "fraud", "--data", str(small_history), "--train-start", "4"]
    told = CliRunner().invoke(app, command)
    assert isinstance(told.exception, UsageError)
    assert "begin training on day 3 or before" in str(told.exception)


async def test_a_broker_that_has_the_pipelines_topics_is_left_alone(small_history: Path) -> None:
    history = read_history(FraudHistory(), small_history)
    pipeline = find_pipeline("fraud").loaded.pipeline
    with BrokerProcess() as broker:
        settings = load_settings(bootstrap=broker.bootstrap)
        await declare_topics(settings, Topics("fraud"))
        with pytest.raises(UsageError, match=r"fraud\.events is on the broker .* already"):
            await walk(WalkPlan("fraud", pipeline, history, settings))
        assert await present_topics(settings, Topics("fraud"))
