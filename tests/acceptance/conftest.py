"""A town: the fraud pipeline under a name of its own, on a broker that others use as well.

Tests take `towns` and found as many as they like (`towns.found(strict=True)`), publish with a
client that is not ours, start real workers, and read what came out.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.agents.pipelines import PIPELINES, Shipped
from batuta.schemas.codec import decode_dead_letter, decode_decision
from batuta.schemas.partition import PartitionOf
from batuta.schemas.topics import Topics
from batuta.streams.lifecycle import Worker
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from batuta.agents.models.port import Matrix, Scores
    from batuta.schemas.dead_letter import DeadLetter
    from batuta.schemas.decision import Decision
    from batuta.schemas.record import Record

PARTITIONS: Final = 4
PATIENCE_S: Final = 60.0
VALUE_BYTES_MAX: Final = 8 << 20

HeaderList = tuple[tuple[str, bytes | None], ...]
_numbers = itertools.count()


class Sent(NamedTuple):
    """A record as a producer sends it."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: HeaderList = ()


class Watchful:
    """A model that lets every event pass, so that decisions show what was understood of them."""

    name = "watchful"
    version = "watchful@000000000000"
    inputs: tuple[str, ...] = (
        "amount",
        "card_count_30d",
        "card_mean_amount_30d",
        "terminal_count_30d",
    )

    async def answer(self, inputs: Matrix) -> Scores:
        return np.zeros(len(inputs))


@dataclass
class Town:
    """A pipeline, its topics, and what a reader found on them."""

    bootstrap: str
    shipped: Shipped
    decisions: list[Decision] = field(default_factory=list["Decision"])
    letters: list[DeadLetter] = field(default_factory=list["DeadLetter"])
    raw_letters: list[Record] = field(default_factory=list["Record"])

    @property
    def topics(self) -> Topics:
        return Topics(self.shipped.pipeline.name)

    # What is sent

    @staticmethod
    def home_of(card: str) -> int:
        return PartitionOf(PARTITIONS)(card.encode())

    @staticmethod
    def transaction(card: str, number: int, **changes: object) -> dict[str, object]:
        return {
            "transaction_id": f"{card}-{number}",
            "event_time": f"2018-04-01T10:{number:02d}:43Z",
            "card_id": card,
            "terminal_id": f"t-{card}",
            "amount": 100.0 + number,
            "currency": "EUR",
            "channel": "pos",
            **changes,
        }

    def good(self, card: str, number: int, **changes: object) -> Sent:
        """A valid transaction where it belongs."""
        value = orjson.dumps(self.transaction(card, number, **changes))
        return Sent(self.home_of(card), card.encode(), value)

    def publish(self, records: Sequence[Sent]) -> None:
        """Publish in order, each to the partition it names."""
        limit = {"message.max.bytes": VALUE_BYTES_MAX}
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, **limit})
        for record in records:
            producer.produce(
                self.topics.events,
                record.value,
                record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
        assert producer.flush(30) == 0

    # What works on it

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[Worker, None]:
        """Start a worker of the two stages that decide; drain it at the end."""
        settings = load_settings(bootstrap=self.bootstrap)
        stages = ("ingestion", "scoring")
        worker = Worker(settings, self.shipped, Watchful(), stages=stages)
        try:
            await worker.start()
            yield worker
        finally:
            await worker.stop()

    def counted(self, name: str, *workers: Worker) -> int:
        """Sum what workers count of ingestion under a metric's name."""
        labels = {"pipeline": self.shipped.pipeline.name, "stage": "ingestion"}
        found = [w.registry.get_sample_value(f"batuta_{name}_total", labels) for w in workers]
        assert None not in found, name
        return int(sum(value or 0 for value in found))

    # What comes out

    def ended(self, *workers: Worker) -> int:
        """How many records are a decision, a dead letter or a counted duplicate."""
        duplicates = self.counted("duplicates", *workers)
        return len(self.decisions) + len(self.letters) + duplicates

    async def until(self, ends: int, *workers: Worker) -> None:
        """Read until there are as many ends; fails at once where a worker does."""
        self._forget()
        async with self.reader(self.topics.decisions, self.topics.deadletters) as reader:
            async with asyncio.timeout(PATIENCE_S):
                while self.ended(*workers) < ends:
                    self._sort(await reader.poll())
                    assert all(worker.failure is None for worker in workers)

    async def gather(self) -> None:
        """Read everything from the beginning; after the last worker, what was too many shows."""
        self._forget()
        self._sort(await self.read(self.topics.decisions))
        self._sort(await self.read(self.topics.deadletters))

    async def read(self, topic: str) -> list[Record]:
        """Return what a read_committed reader finds on a topic now."""
        async with self.reader(topic) as reader:
            return [record async for records in reader.until_end() for record in records]

    def reader(self, *topics: str) -> TopicReader:
        return TopicReader(client_options(load_settings(bootstrap=self.bootstrap)), topics)

    def _forget(self) -> None:
        self.decisions, self.letters, self.raw_letters = [], [], []

    def _sort(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.topic == self.topics.decisions:
                self.decisions.append(decode_decision(record))
            else:
                self.raw_letters.append(record)
                self.letters.append(decode_dead_letter(record))


@dataclass(frozen=True)
class Towns:
    """Founds towns on one broker."""

    bootstrap: str

    def found(self, **source: object) -> Town:
        """Declare the fraud pipeline once more, under a new name; `source` changes its source."""
        fraud = PIPELINES["fraud"]
        changed = fraud.pipeline.source.model_copy(update=source)
        name = f"town_{os.getpid()}_{next(_numbers)}"
        pipeline = fraud.pipeline.model_copy(update={"name": name, "source": changed})
        town = Town(self.bootstrap, replace(fraud, pipeline=pipeline))
        limit = {"max.message.bytes": str(VALUE_BYTES_MAX)}
        topic = NewTopic(town.topics.events, PARTITIONS, 1, config=limit)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([topic])[town.topics.events].result(30)
        return town


@pytest.fixture(scope="session")
def towns(broker: str) -> Towns:
    """Founds towns on each broker in turn."""
    return Towns(broker)
