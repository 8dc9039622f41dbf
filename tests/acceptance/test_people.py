"""A step asks a person: the event waits, the answer resumes it once, also over a kill -9.

Real workers; verdicts come while nobody is at work, and are answered by the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from batuta.schemas import codec
from batuta.schemas.partition import PartitionOf
from batuta.schemas.review import StepCase, Verdict
from batuta.schemas.topics import Topics
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from conftest import Crew, Hand

    from batuta.schemas.decision import Decision
    from batuta.schemas.record import Record
    from batuta.schemas.review import Reviewed

PARTITIONS = 2
BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
PATIENCE_S = 120.0
FILE = """\
pipeline: NAME
version: 1
source: {schema: "claim_parts:Claim", id: claim, key: holder, time: at}
models:
  reader: {adapter: python, use: "claim_parts:Reader", inputs: [doubt], cost: 0 EUR}
  analyst: {kind: human, queue: claims-review, cost: 2.50 EUR, sla: 1h}
plans:
  deep: {cascade: [reader, analyst], stop: "confidence > 0.97"}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Claim(BaseModel):
    claim: str
    holder: str
    at: EventTime
    doubt: float


class Reader:
    async def answer(self, inputs):
        return inputs[:, 0].astype(np.float64)
"""


class Claims:
    """A pipeline of claims on a broker, as its users see it: topics."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.name = f"claims_{os.getpid()}_{abs(hash(folder)) % 10_000}"
        self.topics = Topics(self.name)
        self.file = folder / "claims.yaml"
        self.file.write_text(FILE.replace("NAME", self.name))
        (folder / "claim_parts.py").write_text(PARTS)
        self.decisions: dict[str, list[Decision]] = {}
        self.cases: dict[str, StepCase] = {}
        self.reviewed: list[Reviewed] = []
        self.reader: TopicReader

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[None, None]:
        """Read what comes out, from the beginning."""
        options = client_options(load_settings(bootstrap=self.bootstrap))
        topics = (self.topics.decisions, self.topics.escalations, self.topics.reviewed)
        async with TopicReader(options, topics) as self.reader:
            yield

    def send(self, topic: str, key: str, value: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        partition = PartitionOf(PARTITIONS)(key.encode())
        producer.produce(topic, value, key.encode(), partition=partition)
        assert producer.flush(60) == 0

    def claim(self, name: str, doubt: float) -> None:
        """Publish a claim; all have one holder."""
        data = {"claim": name, "holder": "h1", "at": "2024-05-01T10:00:00Z", "doubt": doubt}
        self.send(self.topics.events, "h1", json.dumps(data).encode())

    def say(self, *verdicts: Verdict) -> None:
        for one in verdicts:
            output = codec.encode_verdict(one, self.topics.verdicts)
            self.send(output.topic, one.case_id, output.value or b"")

    async def shell(self, command: str, *words: str) -> str:
        """Run `batuta review` as a person does, and return what it says."""
        argv = [command, str(self.file), *words, "--by", "ada", "--wait", "60"]
        process = await asyncio.create_subprocess_exec(
            *BATUTA, "review", *argv, "--bootstrap", self.bootstrap, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode()

    async def look(self) -> None:
        """Read on."""
        for record in await self.reader.poll():
            self.take(record)

    def take(self, record: Record) -> None:
        if record.topic == self.topics.decisions:
            decision = codec.decode_decision(record)
            self.decisions.setdefault(decision.event_id, []).append(decision)
        elif record.topic == self.topics.reviewed:
            self.reviewed.append(codec.decode_reviewed(record))
        else:
            case = codec.decode_any_case(record)
            assert isinstance(case, StepCase)
            assert case.event_id not in self.cases, "one case each"
            self.cases[case.event_id] = case

    async def until(self, hand: Hand, true: Callable[[], object]) -> None:
        """Return once something was read; fails where the worker ends or the time does."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            await self.look()
            assert hand.process.poll() is None, f"it ended:\n{hand.said()}"
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s:\n{hand.said()}"


def verdict(case: StepCase, says: str, by: str = "ada") -> Verdict:
    return Verdict(case.case_id, says, by, 1_700_000_000_000)  # type: ignore[arg-type]


async def test_an_answer_resumes_its_step_once_whoever_is_killed_when(
    broker: str, crew: Crew, tmp_path: Path
) -> None:
    claims = Claims(broker, tmp_path)
    crew.pipelines = (str(claims.file),)

    def start() -> Hand:
        return crew.start(broker, "--stages", "ingestion,scoring,escalation", partitions=PARTITIONS)

    first = start()
    first.wait_ready()
    async with claims.read():
        for name, doubt in (("doubtful", 0.5), ("odd", 0.4), ("plain", 0.01)):
            claims.claim(name, doubt)
        await claims.until(first, lambda: len(claims.cases) == 2 and "plain" in claims.decisions)
        assert claims.decisions.keys() == {"plain"}, "nobody waits behind a person"
        doubtful_case, odd_case = claims.cases["doubtful"], claims.cases["odd"]
        assert (doubtful_case.asked, doubtful_case.queue) == ("analyst", "claims-review")
        assert doubtful_case.data["doubt"] == 0.5
        assert await claims.shell("answer", odd_case.case_id[:8], "--verdict", "approve") == (
            f"{odd_case.case_id} answered: its step goes on\n"
        )
        await claims.until(first, lambda: claims.reviewed)
        # The answer is on its way to the step, or has just come there.
        first.process.kill()
        claims.say(verdict(doubtful_case, "block"), verdict(doubtful_case, "approve", "bob"))

        second = start()
        await claims.until(second, lambda: {"doubtful", "odd"} <= claims.decisions.keys())
        claims.claim("last", 0.01)
        await claims.until(second, lambda: "last" in claims.decisions and len(claims.reviewed) >= 3)
    decisions = claims.decisions
    assert {name: len(found) for name, found in decisions.items()} == dict.fromkeys(
        ("doubtful", "plain", "odd", "last"), 1
    )
    (doubtful,), (allowed,) = decisions["doubtful"], decisions["odd"]
    assert (doubtful.outcome, doubtful.score, allowed.outcome) == ("block", 1.0, "approve")
    told = doubtful.answers[-1]
    assert (told.model, told.evidence, told.cost_nano) == (
        "analyst@claims-review", "ada: block", 2_500_000_000,
    )  # fmt: skip
    results = sorted((one.event_id, one.result) for one in claims.reviewed)
    assert results == [("doubtful", "answered"), ("doubtful", "repeated"), ("odd", "answered")]
