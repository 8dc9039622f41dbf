"""A worker whose models may cost so much and no more: what is left over goes to a person."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from batuta.schemas.codec import decode_decision, decode_notification
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.schemas.decision import Decision
    from batuta.schemas.notification import Notification

PATIENCE_S = 120.0
EVENTS = 60
#: So many answers the budget buys.
BOUGHT = 20
FILE = """\
pipeline: spent
version: 1
source: {schema: "spent_parts:Trial", id: trial, key: key, time: at}
models:
  oracle: {adapter: python, use: "spent_parts:Oracle", inputs: [size], cost: 0.01 EUR}
deadline: 60s
budget: {limit: 0.20 EUR, per: month, at: {50%: warn, 100%: stop}}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime

ASKED = []


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    size: float


class Oracle:
    def answer(self, inputs):
        ASKED.append(len(inputs))
        return np.full(len(inputs), 0.25)
"""


async def test_no_model_is_asked_beyond_the_budget(embedded_broker: str, tmp_path: Path) -> None:
    (tmp_path / "spent_parts.py").write_text(PARTS)
    (tmp_path / "pipeline.yaml").write_text(FILE)
    on_disk = load_file(tmp_path / "pipeline.yaml")
    settings = load_settings(bootstrap=embedded_broker, partitions=1)
    worker = Worker(settings, House(on_disk.loaded, open_models(on_disk, tmp_path)))
    try:
        await worker.start()
        await asyncio.wait_for(worker.wait_ready(), PATIENCE_S)
        _publish(embedded_broker)
        decisions, told = await _heard(embedded_broker)
    finally:
        await worker.stop()
    parts: Any = importlib.import_module("spent_parts")
    answered = [one for one in decisions if one.reasons == ("fine",)]
    unpaid = [one for one in decisions if one.reasons[0] == "budget_spent"]
    assert len(answered) + len(unpaid) == EVENTS
    assert 0 < sum(parts.ASKED) == len(answered) <= BOUGHT
    assert {one.outcome for one in unpaid} == {"review"}
    assert {one.answers[0].cost_nano for one in answered} == {10_000_000}
    assert {one.answers[0].failure for one in unpaid} == {"budget_spent"}
    assert {one.labels["rung"] for one in told if "budget" in one.labels} == {"warn", "stop"}


def _publish(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for number in range(EVENTS):
        trial = {"trial": f"t-{number}", "key": f"k{number % 3}", "size": 1.0}
        value = json.dumps({**trial, "at": "2024-01-01T00:00:00Z"})
        producer.produce("spent.events", value, str(trial["key"]))
    assert producer.flush(30) == 0


async def _heard(bootstrap: str) -> tuple[list[Decision], list[Notification]]:
    """Return every decision, and what people were told until the budget was used up."""
    options = client_options(load_settings(bootstrap=bootstrap))
    decisions: dict[str, Decision] = {}
    told: list[Notification] = []
    topics = ["spent.decisions", "spent.notifications"]
    async with TopicReader(options, topics) as reader, asyncio.timeout(PATIENCE_S):
        while len(decisions) < EVENTS or not any("stop" in one.title for one in told):
            for record in await reader.poll():
                if record.topic == "spent.decisions":
                    decision = decode_decision(record)
                    assert decision.event_id not in decisions, "decided twice"
                    decisions[decision.event_id] = decision
                else:
                    told.append(decode_notification(record))
    return list(decisions.values()), told
