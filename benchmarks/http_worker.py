"""A whole worker whose model is served over HTTP: Kafka to Kafka, one worker process.

    uv run python benchmarks/http_models.py --worker --json

The events lie on the topic before the worker starts; a server in a process of its own takes 50 ms
for each answer. `micro_batched` is the Open Inference Protocol with rows of many events in one
request; `single_rows` the same with a request for each, and `chat` the OpenAI-compatible protocol,
where a row is a request in any case. Rate and CPU are from the moment at which the worker wrote its
first ingested event until it wrote the last decision; every event must be decided once, by the
model's answer. CPU is the worker's alone; broker, server and reader share the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from batuta.streams.model_server.process import ModelServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODES", "Mode", "measured_worker"]

BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
TICKS = os.sysconf("SC_CLK_TCK")
PARTITIONS = 4
PATIENCE_S = 240.0
FILE = """\
pipeline: NAME
version: 1
source: {schema: "served_parts:Order", id: order, key: customer, time: at}
models:
  risk:
MODEL
plans:
  only: {ask: risk}
decide:
  - {when: "score > 0.9999", outcome: review}
  - {otherwise: approve}
escalate: {queue: people}
deadline: 5m
"""
PARTS = """\
from typing import Annotated

from pydantic import BaseModel, Field

from batuta.schemas.times import EventTime


class Order(BaseModel):
    order: str
    customer: str
    at: EventTime
    amount: Annotated[float, Field(ge=0, le=1000)]
    items: float
"""
INFERENCE = """\
    adapter: open-inference
    url: "${SERVED_URL}"
    inputs: [amount, items]
    timeout: 30s
    cost: 0 EUR
    connections: 1024
    bulkhead: {calls: 1024, queue: 10000}
    batch: {rows: ROWS, window: 2ms}
"""
CHAT = """\
    adapter: openai
    url: "${SERVED_URL}"
    model: small
    task: How unusual is this?
    inputs: [amount, items]
    timeout: 30s
    prices: {input: 0 EUR, output: 0 EUR}
    connections: 1024
    bulkhead: {calls: 1024, queue: 10000}
"""


@dataclass(frozen=True)
class Mode:
    """How the model is reached.

    Attributes:
        model: its entry in the pipeline file.
        path: behind the server's address.
        events: so many by default; what is slower is given fewer.
    """

    model: str
    path: str
    events: int


MODES = {
    "micro_batched": Mode(INFERENCE.replace("ROWS", "256"), "", 100_000),
    "single_rows": Mode(INFERENCE.replace("ROWS", "1"), "", 20_000),
    "chat": Mode(CHAT, "/v1", 20_000),
}


def measured_worker(
    name: str, bootstrap: str, folder: Path, events: int, delay_ms: int
) -> dict[str, Any]:
    """Return what one mode came to on a broker.

    Args:
        name: of the mode.
        bootstrap: of a broker that has no topics of it yet.
        folder: for the pipeline's files and the worker's log.
        events: how many.
        delay_ms: how long the server takes for an answer.
    """
    pipeline = f"served_{name}"
    file = FILE.replace("NAME", pipeline).replace("MODEL", MODES[name].model.rstrip())
    (folder / f"{name}.yaml").write_text(file)
    (folder / "served_parts.py").write_text(PARTS)
    load(bootstrap, f"{pipeline}.events", events)
    with ModelServerProcess(delay_ms=delay_ms) as server:
        url = server.url("honest") + MODES[name].path
        worker = started(folder, name, bootstrap, url)
        try:
            read = reader(bootstrap, f"{pipeline}.decisions", worker)
            heard = watched(worker, read, events)
            return figures(heard, first_ms(bootstrap, f"{pipeline}.ingested"))
        except AssertionError as error:
            said = (folder / f"{name}.log").read_text(errors="replace")
            raise AssertionError(f"{error}; it said: {said[-9_000:]}") from error
        finally:
            worker.terminate()
            worker.wait(60)


def started(folder: Path, name: str, bootstrap: str, url: str) -> subprocess.Popen[bytes]:
    settings = {"SERVED_URL": url, "BATUTA_PARTITIONS": str(PARTITIONS)}
    command = [*BATUTA, "worker", str(folder / f"{name}.yaml"), "--stages", "ingestion,scoring"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--bootstrap", bootstrap],
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
        )


def load(bootstrap: str, topic: str, events: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        created.result(30)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "linger.ms": 20,
        }
    )
    for number in range(events):
        customer = f"c{number * 7919 % 20_000}"
        value = {"order": f"o{number}", "customer": customer, "at": "2026-01-01T00:00:00Z"}
        value |= {"amount": float(number % 1_000) / 500, "items": float(number % 7)}
        producer.produce(topic, orjson.dumps(value), customer.encode())
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()


def reader(
    bootstrap: str, topic: str, worker: subprocess.Popen[bytes]
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield committed decisions as they come, each with when it was written; nothing meanwhile."""
    options = {"bootstrap.servers": bootstrap, "group.id": "served-reader", "log_level": 0}
    consumer = Consumer({**options, "isolation.level": "read_committed"})
    until_s = time.monotonic() + PATIENCE_S
    while topic not in consumer.list_topics(timeout=5).topics:
        assert worker.poll() is None, "the worker ended"
        assert time.monotonic() < until_s, "the worker did not start"
        time.sleep(0.1)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    while True:
        messages = consumer.consume(2_000, 0.05)
        yield [
            (one.timestamp()[1], orjson.loads(one.value() or b"{}"))
            for one in messages
            if one.error() is None
        ]


@dataclass
class Heard:
    """What came out of a worker.

    Attributes:
        said: decisions by what the model answered, or why it did not.
        last_ms: when the last decision was written.
        used: times in milliseconds, each with the CPU seconds that the worker had used by then.
    """

    seen: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    last_ms: int = 0
    used: list[tuple[float, float]] = field(default_factory=list)


def watched(
    worker: subprocess.Popen[bytes],
    read: Iterator[list[tuple[int, dict[str, Any]]]],
    events: int,
) -> Heard:
    """Read decisions until all are there."""
    heard, last_s = Heard(), time.monotonic()
    for records in read:
        now_s = time.monotonic()
        assert worker.poll() is None, "the worker ended"
        left = events - len(heard.seen)
        assert now_s - last_s < PATIENCE_S, f"{left} events without decision"
        heard.used.append((1_000 * time.time(), cpu_s(worker)))
        for at_ms, record in records:
            last_s = now_s
            heard.last_ms = max(heard.last_ms, at_ms)
            heard.seen[record["event_id"]] += 1
            heard.said[record["answers"][0].get("failure", "answered")] += 1
        if len(heard.seen) == events:
            break
    return heard


def first_ms(bootstrap: str, topic: str) -> int:
    """Return when the first record of a topic was written."""
    options = {"bootstrap.servers": bootstrap, "group.id": "served-first", "log_level": 0}
    consumer = Consumer(options)
    found: list[int] = []
    for number in range(PARTITIONS):
        consumer.assign([TopicPartition(topic, number, 0)])
        message = consumer.poll(30)
        assert message is not None, f"{topic} [{number}] is empty"
        found.append(int(message.timestamp()[1]))
    consumer.close()
    return min(found)


def figures(heard: Heard, began_ms: int) -> dict[str, Any]:
    events = len(heard.seen)
    before_s, after_s = np.interp((began_ms, heard.last_ms), *np.array(heard.used).T).tolist()
    return {
        "events": events,
        "doubled": heard.seen.total() - events,
        "answers": dict(heard.said),
        "events_per_second": round(1e3 * events / max(heard.last_ms - began_ms, 1), 1),
        "cpu_us_per_event": round(1e6 * (after_s - before_s) / events, 1),
    }


def cpu_s(worker: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{worker.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
