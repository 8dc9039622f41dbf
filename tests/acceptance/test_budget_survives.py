"""A worker with a budget is killed with -9: no more is asked than the budget pays for."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from batuta.schemas.codec import decode_decision
from batuta.streams.budget_desk import BudgetDesk
from batuta.streams.pipelines.loading import load_file
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Crew, Hand

    from batuta.schemas.decision import Decision

PATIENCE_S = 120.0
EVENTS = 100
#: So many answers the budget buys.
BOUGHT = 60
FILE = """\
pipeline: NAME
version: 1
source: {schema: "toll_parts:Toll", id: toll, key: car, time: at}
models:
  clerk: {adapter: python, use: "toll_parts:Clerk", inputs: [size], cost: 0.01 EUR}
deadline: 60s
budget: {limit: 0.60 EUR, per: month}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime

ASKED = Path(__file__).with_name("asked")


class Toll(BaseModel):
    toll: str
    car: str
    at: EventTime
    size: float


class Clerk:
    def answer(self, inputs):
        with ASKED.open("a") as asked:
            asked.write("x" * len(inputs))
        return np.full(len(inputs), 0.25)
"""


class Tolls:
    """A pipeline under a budget, as its users see it."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.name = f"tolls_{os.getpid()}_{abs(hash(folder)) % 10_000}"
        self.file, self.asked = folder / "tolls.yaml", folder / "asked"
        self.file.write_text(FILE.replace("NAME", self.name))
        (folder / "toll_parts.py").write_text(PARTS)
        self.decisions: dict[str, list[Decision]] = {}

    def publish(self, first: int, count: int) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number in range(first, first + count):
            toll = {"toll": f"t{number}", "car": f"c{number}", "at": "2024-01-01T00:00:00Z"}
            value = json.dumps({**toll, "size": 1.0})
            producer.produce(f"{self.name}.events", value, f"c{number}")
        assert producer.flush(60) == 0

    async def until(self, reader: TopicReader, hand: Hand, count: int) -> None:
        """Read on until so many events are decided."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.decisions) < count:
            for record in await reader.poll():
                decision = decode_decision(record)
                self.decisions.setdefault(decision.event_id, []).append(decision)
            assert hand.process.poll() is None, f"it ended:\n{hand.said()}"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s:\n{hand.said()}"


async def test_a_kill_spends_no_more_than_the_limit(
    broker: str, crew: Crew, tmp_path: Path
) -> None:
    tolls = Tolls(broker, tmp_path)
    crew.pipelines = (str(tolls.file),)

    def start() -> Hand:
        return crew.start(
            broker,
            *("--stages", "ingestion,scoring,budgeting"),
            partitions=2,
            session_timeout_ms=3_000,
            heartbeat_interval_ms=500,
            transaction_timeout_ms=4_000,
        )

    first = start()
    first.wait_ready()
    settings = load_settings(bootstrap=broker)
    async with TopicReader(client_options(settings), [f"{tolls.name}.decisions"]) as reader:
        tolls.publish(0, 10)
        await tolls.until(reader, first, 10)
        tolls.publish(10, 20)
        # Some are asked about, some answered, some committed, and leases are out.
        first.process.kill()
        second = start()
        tolls.publish(30, EVENTS - 30)
        await tolls.until(reader, second, EVENTS)
        (standing,) = await BudgetDesk(load_file(tolls.file).loaded, settings).standings()
    assert {len(found) for found in tolls.decisions.values()} == {1}
    reasons = [found[0].reasons[0] for found in tolls.decisions.values()]
    asked = len(tolls.asked.read_text())
    assert reasons.count("fine") <= asked <= BOUGHT
    assert reasons.count("fine") + reasons.count("budget_spent") == EVENTS
    assert reasons.count("fine") >= 10
    assert asked * 10_000_000 <= standing.account.used_nano <= standing.account.limit_nano
