"""`batuta models calibrate`: what a model's confidence has come to mean, by what became known."""

from __future__ import annotations

import asyncio
import json
import sys
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.models.calibration import Calibration, calibration_error
from batuta.schemas.codec import encode_decision, encode_outcome
from batuta.schemas.decision import Decision, ModelAnswer
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.topics import Topics
from batuta.streams.cli import main
from batuta.streams.publisher import Publisher, Timed
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_admin import declare_topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, Any, str]]

FILE = """\
pipeline: unsure
version: 2
source: {schema: "unsure_parts:Trial", id: trial, key: key, time: at}
models:
  oracle: {adapter: python, use: "unsure_parts:Oracle", inputs: [size], cost: 0 EUR}
decide: [{otherwise: approve}]
escalate: {queue: people}
labels: {schema: "unsure_parts:Truth", id: trial, time: at, of: true_one}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    size: float


class Truth(BaseModel):
    trial: str
    at: EventTime
    true_one: bool


class Oracle:
    def answer(self, inputs):
        return np.full(len(inputs), 0.25)
"""
WORDS = (0.6, 0.8, 0.95)
SHARES = (0.5, 0.65, 0.7)


def decided(event: str, sure: float, version: int = 2) -> Decision:
    return Decision(
        event_id=event,
        pipeline="unsure",
        pipeline_version=version,
        tenant="default",
        entity="k",
        event_time_ms=1,
        decided_at_ms=2,
        outcome="approve",
        score=0.9,
        reasons=("rule_1",),
        model="oracle@0",
        features={},
        input_sha256="0" * 64,
        answers=(ModelAnswer("oracle", "oracle@0", 0.9, sure),),
    )


async def published(bootstrap: str) -> None:
    """Publish decisions of a model that is too sure, and what became known of most of them."""
    loaded, topics, dice = load_settings(bootstrap=bootstrap), Topics("unsure"), Random(3)
    await declare_topics(loaded, topics)
    decisions, outcomes = [], []
    for number in range(900):
        word, share = number % 3, dice.random()
        event = f"e{number}"
        decisions.append(encode_decision(decided(event, WORDS[word]), topics.decisions))
        # Nobody counts what an earlier version said.
        decisions.append(encode_decision(decided(event, 0.1, version=1), topics.decisions))
        label = share < SHARES[word]
        if number < 600:
            outcome = LabelOutcome(event, "default", "k", 1, label, None, 5)
            outcomes.append(encode_outcome(outcome, topics.outcomes))
    for topic, outputs in ((topics.decisions, decisions), (topics.outcomes, outcomes)):
        async with Publisher(client_options(loaded), topic) as publisher:
            await publisher.publish([Timed(7, output) for output in outputs])
            await publisher.flush()


@pytest.fixture
def run(
    embedded_broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run the command; return its exit code, its JSON and what it said."""

    def command(*words: str) -> tuple[int, Any, str]:
        line = ["batuta", "models", "calibrate", *words, "--bootstrap", embedded_broker, "--json"]
        monkeypatch.setattr(sys, "argv", line)
        try:
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A pipeline whose labels say who was right."""
    (tmp_path / "unsure_parts.py").write_text(PARTS)
    (tmp_path / "unsure.yaml").write_text(FILE)
    return tmp_path / "unsure.yaml"


def test_a_model_that_is_too_sure_is_told_what_its_word_means(
    run: Run, file: Path, embedded_broker: str
) -> None:
    asyncio.run(published(embedded_broker))
    code, told, _ = run(str(file))
    assert (code, told["answers"], told["known"]) == (0, 900, 600)
    assert told["error_after"] < 0.05 < told["error"]
    said, meant = (np.array(column) for column in zip(*told["calibration"], strict=True))
    assert np.abs(np.interp(WORDS, said, meant) - SHARES).max() < 0.1
    # Written into the file it is what later answers are fitted on.
    line = f"cost: 0 EUR, calibration: {told['calibration']}"
    file.write_text(file.read_text().replace("cost: 0 EUR", line))
    _, again, _ = run(str(file))
    assert [point[0] for point in again["calibration"]] == said.tolist()


def test_where_only_what_is_so_is_told_silence_has_to_count(
    run: Run, file: Path, embedded_broker: str
) -> None:
    file.write_text(FILE.replace("version: 2", "version: 4"))

    async def publish() -> None:
        loaded, topics = load_settings(bootstrap=embedded_broker), Topics("unsure")
        await declare_topics(loaded, topics)
        names = [f"silent{number}" for number in range(200)]
        decisions = [encode_decision(decided(one, 0.9, 4), topics.decisions) for one in names]
        frauds = [LabelOutcome(one, "default", "k", 1, True, None, 5) for one in names[:120]]
        outcomes = [encode_outcome(one, topics.outcomes) for one in frauds]
        for topic, outputs in ((topics.decisions, decisions), (topics.outcomes, outcomes)):
            async with Publisher(client_options(loaded), topic) as publisher:
                await publisher.publish([Timed(7, output) for output in outputs])
                await publisher.flush()

    asyncio.run(publish())
    code, told, error = run(str(file))
    assert (code, told["known"], "calibration" in told) == (1, 120, False)
    assert "all alike: where silence says no, add after how long, --silence-days 7" in error
    code, told, _ = run(str(file), "--silence-days", "7")
    assert (code, told["known"], told["calibration"]) == (0, 200, [[0.9, 0.6]])


def test_where_too_little_is_known_it_says_so(run: Run, file: Path, embedded_broker: str) -> None:
    asyncio.run(declare_topics(load_settings(bootstrap=embedded_broker), Topics("unsure")))
    file.write_text(file.read_text().replace("version: 2", "version: 3"))
    code, told, error = run(str(file))
    assert (code, told["known"], "calibration" in told) == (1, 0, False)
    assert "100 are needed" in error


@pytest.mark.parametrize(
    ("words", "left_out", "said"),
    [
        (("--model", "orakle"), "nothing", "'orakle' is no model of unsure; choose one of: oracle"),
        ((), FILE.splitlines()[-1], "unsure has no labels, so nothing says who was right"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    run: Run, file: Path, words: tuple[str, ...], left_out: str, said: str
) -> None:
    file.write_text(FILE.replace(left_out, ""))
    code, told, error = run(str(file), *words)
    assert (code, told) == (2, None)
    assert said in error


@settings(deadline=None)  # the first call loads scikit-learn
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=300))
def test_a_line_rises_and_is_nearer_to_what_is_so(pairs: list[tuple[float, bool]]) -> None:
    said = np.array([word for word, _ in pairs])
    right = np.array([known for _, known in pairs])
    line = Calibration.fitted(said, right)
    words, shares = zip(*line.points, strict=True)
    assert list(words) == sorted(set(words))
    assert list(shares) == sorted(shares)
    meant = line.of(said)
    assert ((meant >= 0.0) & (meant <= 1.0)).all()
    # Whoever is as often right, whatever they say, is told just that.
    assert abs(line.of(np.array([0.5]))[0] - right.mean()) < 1e-4 or len(line.points) > 1
    assert 0.0 <= calibration_error(meant, right) <= 1.0
