"""Offices: dead letters of the fraud pipeline on a broker, and `batuta deadletters` at work."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from confluent_kafka import Producer

from batuta.schemas import codec
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import Decision
from batuta.schemas.ingested import Ingested
from batuta.schemas.notification import Notification
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Headers, Output, Record
from batuta.schemas.redriven import REDRIVEN_OF
from batuta.schemas.topics import Topics
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_admin import declare_topics
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MAIN: Final = ("-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
TOPICS: Final = Topics("fraud")
STAGES: Final = (
    *("ingestion", "rekeying", "learning"),
    *("scoring", "escalation", "notification"),
)
PARTITIONS: Final = 4
PATIENCE_S: Final = 120.0
NOW_MS: Final = time.time_ns() // 1_000_000
CARD: Final = "card-4711-secret"
FEATURES: Final = {f"card_{name}": 1.0 for name in ("count_1d", "count_7d", "count_30d")} | {
    f"card_mean_amount_{width}": 10.0 for width in ("1d", "7d", "30d")
}
_numbers = itertools.count()


def transaction(name: str, card: str = CARD, **changes: object) -> dict[str, object]:
    return {
        "transaction_id": name,
        "event_time": "2018-04-01T10:17:43Z",
        "card_id": card,
        "terminal_id": "t-1",
        "amount": 12.5,
        "currency": "EUR",
        "channel": "pos",
        **changes,
    }


def letter(
    output: Output, stage: str = "ingestion", reason: str = "gave_up", **why: Any
) -> DeadLetter:
    """A dead letter of a record that lay where its key belongs."""
    partition = PartitionOf(PARTITIONS)(output.key or b"")
    record = Record(output.topic, partition, 5, NOW_MS, output.key, output.value, output.headers)
    known = DeadLetter(record, stage, reason, f"{reason} of {stage}", refused_at_ms=NOW_MS)
    return replace(known, **why)


def event(name: str, card: str = CARD, headers: Headers = (), **changes: object) -> Output:
    value = orjson.dumps(transaction(name, card, **changes))
    return Output(TOPICS.events, card.encode(), value, headers)


def decision(name: str) -> Decision:
    return Decision(
        event_id=name,
        pipeline="fraud",
        pipeline_version=1,
        tenant="default",
        entity=CARD,
        event_time_ms=NOW_MS,
        decided_at_ms=NOW_MS,
        outcome="review",
        score=0.07,
        reasons=("score_above_review",),
        model="m@000000000000",
        features={"amount": 12.5},
        input_sha256="0" * 64,
    )


def ingested(name: str) -> Ingested:
    data = transaction(name)
    return Ingested(name, CARD, "t-1", NOW_MS, NOW_MS, "default", data, FEATURES, "")


def notification(name: str) -> Notification:
    return Notification(
        notification_id=f"note-{name}",
        pipeline="fraud",
        tenant="default",
        severity="critical",
        title=f"fraud: {name} blocked",
        summary="scored 0.99",
        event_id=name,
        labels={},
        created_at_ms=NOW_MS,
    )


@dataclass
class Office:
    """The fraud pipeline's dead letters on one broker, and the command at work on them."""

    bootstrap: str
    running: list[subprocess.Popen[str]] = field(default_factory=list["subprocess.Popen[str]"])

    # What is buried

    topics = TOPICS
    stages = STAGES
    card = CARD
    now_ms = NOW_MS
    letter = staticmethod(letter)
    event = staticmethod(event)
    decision = staticmethod(decision)
    ingested = staticmethod(ingested)
    notification = staticmethod(notification)

    @staticmethod
    def home_of(key: str) -> int:
        return PartitionOf(PARTITIONS)(key.encode())

    @staticmethod
    def fresh() -> str:
        """Return the id of an event that no other test has."""
        return f"tx-{next(_numbers):06d}"

    def declare(self) -> None:
        asyncio.run(declare_topics(load_settings(bootstrap=self.bootstrap), TOPICS))

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters as a lane does."""
        limit = {"message.max.bytes": 8 << 20}
        producer = Producer({"bootstrap.servers": self.bootstrap, **limit})
        for one in letters:
            output = codec.encode_dead_letter(one, TOPICS.deadletters)
            place = PartitionOf(PARTITIONS)(output.key or b"")
            producer.produce(
                output.topic,
                output.value,
                output.key,
                partition=place,
                headers=list(output.headers),
            )
        assert producer.flush(30) == 0

    # What works on it

    def work(self, log: Path, *stages: str) -> subprocess.Popen[str]:
        """Start a worker; `end` it with SIGTERM to have it drained."""
        named = ("--stages", ",".join(stages)) if stages else ()
        with log.open("w") as written:
            process = subprocess.Popen(
                [sys.executable, *MAIN, "worker", "fraud", *named, "--bootstrap", self.bootstrap],
                stdout=written,
                stderr=subprocess.STDOUT,
                text=True,
                env=_environment(),
            )
        self.running.append(process)
        return process

    def start(self, *arguments: str, program: Sequence[str] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                *(program or MAIN),
                "deadletters",
                *arguments,
                "--bootstrap",
                self.bootstrap,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str, code: int = 0, program: Sequence[str] = ()) -> tuple[str, str]:
        """Run the command to its end; return what it said on stdout and on stderr."""
        process = self.start(*arguments, program=program)
        out, said = self.finish(process, code)
        assert "Traceback" not in said
        return out, said

    @staticmethod
    def finish(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
        """Wait for the end of a process; return what it said on stdout and on stderr."""
        out, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, f"{said}{out}"
        return out, said

    def json(self, *arguments: str, code: int = 0, program: Sequence[str] = ()) -> dict[str, Any]:
        out, _ = self.run(*arguments, "--json", code=code, program=program)
        assert out.count("\n") == 1
        return dict(json.loads(out))

    def read(self, topic: str) -> list[Record]:
        """Return what a read_committed reader finds on a topic now."""

        async def whole() -> list[Record]:
            options = client_options(load_settings(bootstrap=self.bootstrap))
            async with TopicReader(options, [topic]) as reader:
                return [record async for records in reader.until_end() for record in records]

        return asyncio.run(whole())

    def returned(self) -> Counter[str]:
        """Count, by dead letter, what was redriven to whichever stage."""
        records = [one for stage in STAGES for one in self.read(TOPICS.redrive(stage))]
        return Counter(dict(one.headers)[REDRIVEN_OF].decode() for one in records)

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


class Offices:
    """Opens offices; whatever happens, no process of theirs outlives the test."""

    def __init__(self) -> None:
        self._open: list[Office] = []

    def at(self, bootstrap: str) -> Office:
        """An office at an address, whatever is there."""
        self._open.append(Office(bootstrap))
        return self._open[-1]

    def open(self, bootstrap: str) -> Office:
        """An office with the pipeline's topics."""
        office = self.at(bootstrap)
        office.declare()
        return office

    def close(self) -> None:
        for office in self._open:
            office.end()


@pytest.fixture
def offices() -> Iterator[Offices]:
    """Opens offices for one test."""
    offices = Offices()
    yield offices
    offices.close()


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """An office that a module shares, where nothing works on what is redriven."""
    with BrokerProcess() as broker:
        offices = Offices()
        yield offices.open(broker.bootstrap)
        offices.close()


@pytest.fixture
def own_office(own_broker: str, offices: Offices) -> Office:
    """An office on each broker in turn, nothing on it yet."""
    return offices.open(own_broker)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name[:7] != "BATUTA_"}
