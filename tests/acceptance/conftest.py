"""Towns and crews: pipelines to publish to, and workers as processes.

A town is the fraud pipeline under a name of its own, on a broker that others use as well. Tests
take `towns` and found as many as they like (`towns.found(strict=True)`), publish with a client that
is not ours, start real workers in process, and read what came out. `fraud_town` is the pipeline
itself on a broker of its own, for the workers that `crew` starts as a shell would.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from batuta.schemas.codec import decode_dead_letter, decode_decision
from batuta.schemas.partition import PartitionOf
from batuta.schemas.topics import Topics
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.pipelines import Shipped
    from batuta.schemas.dead_letter import DeadLetter
    from batuta.schemas.decision import Decision
    from batuta.schemas.record import Record

PARTITIONS: Final = 4
PATIENCE_S: Final = 120.0
VALUE_BYTES_MAX: Final = 8 << 20
POM: Final = Path(__file__).parents[1] / "apache_kafka" / "pom.xml"
BATUTA: Final = (
    sys.executable,
    "-c",
    "import sys; from batuta.streams.cli import main; sys.exit(main())",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the proof over state be asked for whole; see test_state_survives.py."""
    parser.addoption("--state-events", type=int, default=30_000, help="events to be seen through")


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

    watchful = Watchful()

    @property
    def topics(self) -> Topics:
        return Topics(self.shipped.pipeline.name)

    def create_source(self) -> None:
        """Create the topic of events, its limit raised as users of large events do."""
        limit = {"max.message.bytes": str(VALUE_BYTES_MAX)}
        topic = NewTopic(self.topics.events, PARTITIONS, 1, config=limit)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([topic])[self.topics.events].result(30)

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
        worker = Worker(settings, House(self.shipped, Watchful()), stages=stages)
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
        town.create_source()
        return town


@pytest.fixture(scope="session")
def towns_on() -> type[Towns]:
    """Founds towns on a broker that is named."""
    return Towns


@pytest.fixture(scope="session")
def towns(broker: str) -> Towns:
    """Founds towns on each broker in turn."""
    return Towns(broker)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Bootstrap of a broker that no other test has written to."""
    if request.param == "embedded":
        with BrokerProcess() as embedded:
            yield embedded.bootstrap
        return
    request.getfixturevalue("apache_kafka")  # fails or skips where Apache Kafka cannot run
    apache = ApacheKafka(find_libraries(POM), tmp_path / "apache-kafka")
    yield apache.bootstrap
    apache.stop()


@pytest.fixture
def nowhere() -> str:
    """An address where no broker listens, yet."""
    return f"127.0.0.1:{_free_port()}"


@pytest.fixture
def later_town(nowhere: str) -> Town:
    """The fraud pipeline on a broker that is still to come."""
    return Town(nowhere, PIPELINES["fraud"])


@pytest.fixture
def fraud_town(own_broker: str) -> Town:
    """The fraud pipeline itself."""
    town = Town(own_broker, PIPELINES["fraud"])
    town.create_source()
    return town


@dataclass
class Hand:
    """One worker as a process of its own."""

    process: subprocess.Popen[bytes]
    metrics_port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """Ask its server; a worker that does not listen yet answers 0."""
        link = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            link.close()

    def metric(self, name: str, **labels: str) -> float:
        """Sum the samples of a metric that carry these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Return once something is so; fails where the worker ends or the time does."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, f"it ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s:\n{self.said()}"
            time.sleep(0.02)

    def wait_ready(self) -> None:
        self.wait_until(lambda: self.get("/readyz")[0] == 200)

    def ends_with(self) -> int:
        """Wait until it has ended and return its exit code."""
        return self.process.wait(PATIENCE_S)


@dataclass
class Crew:
    """Starts workers; whatever happens, none outlives the test.

    Attributes:
        pipelines: what they work on.
    """

    logs: Path
    pipelines: tuple[str, ...] = ("fraud",)
    hands: list[Hand] = field(default_factory=list["Hand"])

    def start(self, bootstrap: str | None, *options: str, **settings: object) -> Hand:
        """Start `batuta worker`; `settings` become its environment."""
        named = () if bootstrap is None else ("--bootstrap", bootstrap)
        port = _free_port()
        log = self.logs / f"worker-{len(self.hands)}.log"
        clean = {name: value for name, value in os.environ.items() if name[:7] != "BATUTA_"}
        extra = {f"BATUTA_{name}".upper(): str(value) for name, value in settings.items()}
        with log.open("wb") as written:
            process = subprocess.Popen(
                [*BATUTA, "worker", *self.pipelines, *named, "--metrics-port", str(port), *options],
                stdout=written,
                stderr=subprocess.STDOUT,
                env={**clean, **extra},
                start_new_session=True,
            )
        self.hands.append(Hand(process, port, log))
        return self.hands[-1]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    """Starts workers as processes."""
    crew = Crew(tmp_path)
    yield crew
    for hand in crew.hands:
        hand.process.kill()
        hand.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
