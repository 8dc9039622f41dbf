"""A version that is promoted under load: every lane takes it up between batches, kill -9 or not."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from sklearn.linear_model import LogisticRegression

from batuta.agents.models.fitted import Fitted
from batuta.schemas.codec import decode_decision
from batuta.schemas.partition import PartitionOf
from batuta.schemas.times import rfc3339
from batuta.schemas.topics import Topics
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.loading import PipelineOnDisk, load_file
from batuta.streams.registry.files import version_of
from batuta.streams.registry.registry import Registry
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Crew, Hand

    from batuta.schemas.decision import Decision
    from batuta.schemas.model_version import ModelVersion

PARTITIONS: Final = 4
SENDERS: Final = 40
START_MS: Final = 1_522_540_800_000
PATIENCE_S: Final = 120.0
#: Many batches; a killed worker's lanes soon another's; no answer outlives its batch.
SETTINGS: Final = {
    "session_timeout_ms": 3_000,
    "heartbeat_interval_ms": 500,
    "batch_records_max": 50,
    "soft_deadline_ms": 60_000,
}
FILE: Final = """\
pipeline: {name}
version: 1
source: {{schema: "crate_parts:Crate", id: crate, key: sender, time: at}}
models:
  scales: {{adapter: onnx, version: production, inputs: [weight, size]}}
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
    size: float
"""
_numbers = itertools.count()


@dataclass
class Yard:
    """A pipeline whose model follows the registry, and what became of what was sent."""

    bootstrap: str
    folder: Path
    name: str
    sent: int = 0

    @classmethod
    def found(cls, bootstrap: str, folder: Path) -> Yard:
        name = f"swapped_{os.getpid()}_{next(_numbers)}"
        (folder / "crates.yaml").write_text(FILE.format(name=name))
        (folder / "crate_parts.py").write_text(PARTS)
        admin = AdminClient({"bootstrap.servers": bootstrap})
        topic = NewTopic(Topics(name).events, PARTITIONS, 1)
        admin.create_topics([topic])[topic.topic].result(30)
        return cls(bootstrap, folder, name)

    @property
    def file(self) -> Path:
        return self.folder / "crates.yaml"

    @property
    def on_disk(self) -> PipelineOnDisk:
        return load_file(self.file)

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.folder / "models")

    async def register(self, seed: int) -> ModelVersion:
        rows = np.random.default_rng(seed).normal(size=(60, 2)).astype(np.float32)
        fitted = LogisticRegression().fit(rows, rows[:, 0] > 0)
        file = self.folder / f"{seed}.onnx"
        file.write_bytes(Fitted(fitted, 2).to_onnx())
        version = version_of(self.on_disk, "scales", file, self.store, datetime.now(UTC))
        assert await self._registry.register(version)
        return version

    async def promote(self, version: ModelVersion, instead_of: ModelVersion | None) -> int:
        """Promote a version; return the control offset behind its pointer."""
        expected = None if instead_of is None else instead_of.version_id
        await self._registry.point(version, "production", datetime.now(UTC), expected)
        return (await self._registry.standing()).moved_at(self.name, ("scales",))

    @property
    def _registry(self) -> Registry:
        return Registry(load_settings(bootstrap=self.bootstrap))

    async def publish(self, count: int) -> None:
        producer, place = Producer({"bootstrap.servers": self.bootstrap}), PartitionOf(PARTITIONS)
        for number in range(self.sent, self.sent + count):
            sender = f"s{number % SENDERS}".encode()
            crate = {
                "crate": f"c{number}",
                "sender": sender.decode(),
                "at": rfc3339(START_MS + number * 1_000),
                "weight": number % 17 / 5,
                "size": number % 5 / 2,
            }
            topic = Topics(self.name).events
            producer.produce(topic, orjson.dumps(crate), sender, partition=place(sender))
        assert await asyncio.to_thread(producer.flush, 60) == 0
        self.sent += count

    async def decided(self) -> dict[int, list[Decision]]:
        """Return the decisions of each partition, which is a lane's, once all are there."""
        topics = Topics(self.name)
        found: dict[int, list[Decision]] = defaultdict(list)
        options = client_options(load_settings(bootstrap=self.bootstrap))
        async with TopicReader(options, (topics.decisions, topics.deadletters)) as reader:
            async with asyncio.timeout(PATIENCE_S):
                while sum(map(len, found.values())) < self.sent:
                    for record in await reader.poll():
                        assert record.topic == topics.decisions, record
                        found[record.partition].append(decode_decision(record))
            async for records in reader.until_end():
                assert not records, "more than was sent"
        return found


def lanes_ready(hand: Hand) -> float:
    return hand.metric("batuta_lanes", stage="scoring", state="ready")


def lag_is_gone(hand: Hand) -> bool:
    return hand.metric("batuta_consumer_lag_records") == 0


@pytest.mark.timeout(300)
async def test_versions_go_live_in_a_running_worker_and_every_lane_follows(
    crew: Crew, embedded_broker: str, tmp_path: Path
) -> None:
    yard = Yard.found(embedded_broker, tmp_path)
    crew.pipelines = (str(yard.file),)
    first, second, third = [await yard.register(seed) for seed in (1, 2, 3)]
    offsets = [await yard.promote(first, instead_of=None)]

    def start() -> Hand:
        options = ("--stages", "ingestion,scoring")
        return crew.start(embedded_broker, *options, model_dir=tmp_path / "models", **SETTINGS)

    leaving, staying = start(), start()
    for hand in (leaving, staying):
        hand.wait_until(lambda hand=hand: lanes_ready(hand) == PARTITIONS // 2)
    await yard.publish(2_000)
    for hand in (leaving, staying):
        hand.wait_until(lambda hand=hand: hand.metric("batuta_decisions_total") > 100)
    await yard.publish(2_000)
    offsets.append(await yard.promote(second, instead_of=first))
    leaving.process.kill()
    leaving.process.wait()
    await yard.publish(2_000)
    staying.wait_until(
        lambda: staying.metric("batuta_model_version_info", version=second.version_id) == 1
    )
    coming = start()
    coming.wait_until(lambda: lanes_ready(coming) == PARTITIONS // 2)
    await yard.publish(1_000)
    staying.wait_until(lambda: lag_is_gone(staying) and lag_is_gone(coming))
    offsets.append(await yard.promote(first, instead_of=second))
    for hand in (staying, coming):
        hand.wait_until(lambda hand=hand: hand.metric("batuta_control_offset") == offsets[-1])
        assert hand.metric("batuta_model_version_info") == 1, "no former version is shown"
    await yard.publish(1_000)
    staying.wait_until(lambda: lag_is_gone(staying) and lag_is_gone(coming))

    (kept,) = (tmp_path / "models" / yard.name).glob(f"*{third.sha256[:12]}.onnx")
    kept.unlink()
    await yard.promote(third, instead_of=first)
    staying.wait_until(lambda: staying.metric("batuta_model_versions_refused_total") == 1)
    assert "model_refused" in staying.said()
    assert staying.get("/readyz")[0] == 200
    await yard.publish(500)

    lanes = await yard.decided()
    decided = [decision.event_id for decisions in lanes.values() for decision in decisions]
    assert sorted(decided) == sorted(f"c{number}" for number in range(yard.sent)), "each once"
    live = dict(zip(offsets, (first, second, first), strict=True))
    assert len(lanes) == PARTITIONS
    for decisions in lanes.values():
        met = [decision.control_offset or 0 for decision in decisions]
        assert met == sorted(met), "a lane never goes back"
        assert set(met) == set(offsets), "and takes up each"
        for decision in decisions:
            asked = live[decision.control_offset or 0].version_id
            assert decision.model == asked
            assert [answer.model for answer in decision.answers] == [asked]
