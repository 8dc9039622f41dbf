"""A worker whose plans a model of the pipeline proposes: bounded, recorded, counted, explained."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from rich.console import Console

from batuta.schemas.codec import decode_decision
from batuta.streams.cli.story import Story
from batuta.streams.cli.story_tree import tree_of
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.pipelines import LoadedPipeline
    from batuta.schemas.decision import Decision

PATIENCE_S = 120.0
EVENTS = 60
FILE = """\
pipeline: charted
version: 1
source: {schema: "charted_parts:Trial", id: trial, key: key, time: at}
models:
  cheap: {adapter: python, use: "charted_parts:Cheap", inputs: [size]}
  strong: {adapter: python, use: "charted_parts:Strong", inputs: [size]}
  broken: {adapter: python, use: "charted_parts:Broken", inputs: [size]}
  hidden: {adapter: python, use: "charted_parts:Strong", inputs: [size]}
  charter:
    {adapter: python, use: "charted_parts:Charter", reads: [size], timeout: 5s, cost: 0.002 EUR}
plans:
  plain: {ask: cheap}
select:
  among: [plain]
  planner: {ask: charter, allow: [cheap, strong, broken], replans: 1}
deadline: 60s
decide:
  - {when: "score > 0.5", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.agents.models.answers import Answers
from batuta.schemas.times import EventTime


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    size: float


class Cheap:
    def answer(self, inputs):
        return np.full(len(inputs), 0.25)


class Strong:
    def answer(self, inputs):
        return np.full(len(inputs), 0.75)


class Broken:
    def answer(self, inputs):
        raise ValueError("broken")


class Charter:
    def answer_rows(self, rows):
        plans = [self.plan(row["size"], row["briefing"]) for row in rows]
        return Answers(np.full(len(rows), 0.9), values=[{"plan": plan} for plan in plans])

    def plan(self, size, briefing):
        assert "hidden" not in briefing["models"]
        if "failed" in briefing:
            assert briefing["failed"] == {"broken": "broke"}
            return {"ask": "strong"}
        return [{"ask": "strong"}, {"ask": "hidden"}, '{"ask": "broken"}'][int(size)]
"""
FOLLOWED, REFUSED, REPLANNED = range(3)


async def test_a_model_plans_the_work_of_others(embedded_broker: str, tmp_path: Path) -> None:
    (tmp_path / "charted_parts.py").write_text(PARTS)
    (tmp_path / "pipeline.yaml").write_text(FILE)
    on_disk = load_file(tmp_path / "pipeline.yaml")
    settings = load_settings(bootstrap=embedded_broker, partitions=1)
    models = open_models(on_disk, tmp_path)
    assert "hidden" not in models
    worker = Worker(settings, House(on_disk.loaded, models))
    try:
        await worker.start()
        await asyncio.wait_for(worker.wait_ready(), PATIENCE_S)
        _publish(embedded_broker)
        decisions = await _decided(embedded_broker)
        counted = [
            await _counted(worker, outcome, reason)
            for outcome, reason in (
                ("followed", "followed"),
                ("refused", "model_not_allowed"),
                ("replanned", "replanned"),
            )
        ]
        labels = {"pipeline": "charted", "currency": "EUR"}
        paid = worker.registry.get_sample_value("batuta_planning_cost_total", labels)
    finally:
        await worker.stop()
    assert counted == [EVENTS / 3] * 3
    costs = [one.selection.planning_cost_nano for one in decisions if one.selection]
    # A third of the events is planned twice.
    assert sum(costs) == 2_000_000 * (EVENTS + EVENTS // 3)
    assert paid == pytest.approx(sum(costs) / 1e9)
    by_kind = [[one for one in decisions if one.features["size"] == kind] for kind in range(3)]
    assert {one.outcome for one in by_kind[FOLLOWED]} == {"block"}
    assert {one.outcome for one in by_kind[REFUSED]} == {"approve"}
    assert {one.outcome for one in by_kind[REPLANNED]} == {"block"}
    assert {one.fallback for one in by_kind[REFUSED]} == {True}
    assert {one.selection.proposal for one in by_kind[REPLANNED] if one.selection} == {
        '[{"ask":"broken"},{"ask":"strong"}]'
    }
    page = _explained(by_kind[REPLANNED][0], on_disk.loaded)
    assert "chosen by planner" in page
    assert 'planner: replanned  [{"ask":"broken"},{"ask":"strong"}]  cost 0.004 EUR' in page
    assert "so that plan plain stands" in _explained(by_kind[REFUSED][0], on_disk.loaded)


def _explained(decision: Decision, loaded: LoadedPipeline) -> str:
    screen = io.StringIO()
    Console(file=screen, width=200).print(tree_of(Story(decision.event_id), decision, loaded))
    return screen.getvalue()


def _publish(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for number in range(EVENTS):
        trial = {"trial": f"t-{number}", "key": f"k{number % 7}", "size": float(number % 3)}
        value = json.dumps({**trial, "at": "2024-01-01T00:00:00Z"})
        producer.produce("charted.events", value, str(trial["key"]))
    assert producer.flush(30) == 0


async def _decided(bootstrap: str) -> list[Decision]:
    options = client_options(load_settings(bootstrap=bootstrap))
    decisions: dict[str, Decision] = {}
    async with TopicReader(options, ["charted.decisions"]) as reader, asyncio.timeout(PATIENCE_S):
        while len(decisions) < EVENTS:
            for record in await reader.poll():
                decision = decode_decision(record)
                assert decision.event_id not in decisions, "decided twice"
                decisions[decision.event_id] = decision
    return list(decisions.values())


async def _counted(worker: Worker, outcome: str, reason: str) -> float | None:
    """Return how many were counted, once all are: a batch counts after its commit."""
    labels = {"pipeline": "charted", "outcome": outcome, "reason": reason}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = worker.registry.get_sample_value("batuta_proposals_total", labels)
            if found is not None and found >= EVENTS / 3:
                return found
            await asyncio.sleep(0.05)
