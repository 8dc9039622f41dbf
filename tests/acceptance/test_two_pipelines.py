"""Two pipelines in one worker: one model and one price list for both, and nothing more."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import pytest
from confluent_kafka import Producer

from batuta.schemas.codec import decode_decision
from batuta.schemas.errors import OursError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.times import rfc3339
from batuta.schemas.topics import Topics
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.model_server.process import ModelServerProcess
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Crew, Town, Towns

    from batuta.agents.models.port import Matrix, Scores
    from batuta.schemas.decision import Decision

EVENTS: Final = 400
PATIENCE_S: Final = 120.0
FILE: Final = """\
pipeline: {name}
version: 1
price_list: prices.yaml
source: {{schema: "crate_parts:Crate", id: crate, key: sender, time: at}}
models:
  {model}:
    adapter: open-inference
    url: "{url}"
    model: weighbridge
    inputs: [weight]
    timeout: 60s
decide:
  - {{when: "score > 0.9", outcome: block}}
  - {{otherwise: approve}}
escalate: {{queue: dispatch}}
"""
PARTS: Final = """\
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Crate(BaseModel):
    crate: str
    sender: str
    at: EventTime
    weight: float
"""
_numbers = itertools.count()


@dataclass(frozen=True)
class Line:
    """A pipeline that asks the weighbridge, under a name of its own."""

    bootstrap: str
    file: Path
    name: str
    model: str

    @classmethod
    def found(cls, bootstrap: str, folder: Path, model: str, url: str) -> Line:
        name = f"shared_{os.getpid()}_{next(_numbers)}"
        file = folder / f"{name}.yaml"
        file.write_text(FILE.format(name=name, model=model, url=url))
        return cls(bootstrap, file, name, model)

    async def publish(self) -> None:
        producer, place = Producer({"bootstrap.servers": self.bootstrap}), PartitionOf(1)
        for number in range(EVENTS):
            sender = f"s{number % 7}".encode()
            crate = {
                "crate": f"c{number}",
                "sender": sender.decode(),
                "at": rfc3339(1_522_540_800_000 + number * 1_000),
                "weight": number % 5 / 2,
            }
            topic = Topics(self.name).events
            producer.produce(topic, orjson.dumps(crate), sender, partition=place(sender))
        assert await asyncio.to_thread(producer.flush, 60) == 0

    async def decided(self) -> list[Decision]:
        options = client_options(load_settings(bootstrap=self.bootstrap))
        found: list[Decision] = []
        async with TopicReader(options, (Topics(self.name).decisions,)) as reader:
            async with asyncio.timeout(PATIENCE_S):
                while len(found) < EVENTS:
                    found += [decode_decision(record) for record in await reader.poll()]
        return found


async def test_two_pipelines_share_a_worker_a_model_and_a_price_list(
    crew: Crew, broker: str, tmp_path: Path
) -> None:
    (tmp_path / "crate_parts.py").write_text(PARTS)
    (tmp_path / "prices.yaml").write_text("weighbridge: {cost: 0.0008 EUR}\n")
    with ModelServerProcess() as server:
        lines = [
            Line.found(broker, tmp_path, model, server.url("honest"))
            for model in ("scales", "steelyard")
        ]
        crew.pipelines = tuple(str(line.file) for line in lines)
        hand = crew.start(
            broker, "--stages", "ingestion,scoring", partitions=1, soft_deadline_ms=60_000
        )
        hand.wait_ready()
        for line in lines:
            await line.publish()
        for line in lines:
            decisions = await line.decided()
            assert sorted(d.event_id for d in decisions) == sorted(f"c{n}" for n in range(EVENTS))
            assert {d.model for d in decisions} == {f"{line.model}@served"}
            answers = [answer for decision in decisions for answer in decision.answers]
            assert sum(answer.cost_nano for answer in answers) == EVENTS * 800_000
            labels = {"pipeline": line.name}
            hand.wait_until(
                lambda labels=labels: hand.metric("batuta_decisions_total", **labels) == EVENTS
            )
            paid = hand.metric("batuta_model_cost_total", model=line.model, **labels)
            assert paid == pytest.approx(EVENTS * 0.0008)
        assert hand.get("/readyz")[0] == 200


class Broken:
    """A model that breaks a promise of ours: its lanes stop."""

    name = "broken"
    version = "broken@000000000000"
    inputs: tuple[str, ...] = ("amount",)

    async def answer(self, inputs: Matrix) -> Scores:
        raise OursError(f"{len(inputs)} rows broke it")


async def test_a_pipeline_that_fails_leaves_the_other_at_work(
    embedded_broker: str, towns_on: type[Towns]
) -> None:
    failing, working = (towns_on(embedded_broker).found() for _ in range(2))
    settings = load_settings(bootstrap=embedded_broker)
    worker = Worker(
        settings,
        House(failing.shipped, Broken()),
        House(working.shipped, working.watchful),
        stages=("ingestion", "scoring"),
    )
    try:
        await worker.start()
        await worker.wait_ready()
        running = asyncio.create_task(worker.run_until_stopped())
        failing.publish([failing.good("c1", 1)])
        await until_failed(worker, failing)
        working.publish([working.good(f"c{n}", n) for n in range(50)])
        await working.until(50)
        assert not running.done()
        assert not worker.ready
    finally:
        await worker.stop()
    await running


async def until_failed(worker: Worker, town: Town) -> None:
    async with asyncio.timeout(PATIENCE_S), town.reader(town.topics.decisions) as reader:
        while worker.failure is None:
            assert await reader.poll() == []
