"""The fraud path, measured: events/s and CPU-us per event of ingestion and scoring, by stage.

    uv run python benchmarks/fraud_path.py --events 300000 --json
    uv run python benchmarks/fraud_path.py --partitions 1,2,4,8 --workers 1,2

Starts Apache Kafka, loads the events once, then runs one worker process per measurement: both
stages together, and each alone on what the other left. Other numbers of partitions and of worker
processes are measured with both stages together. CPU is the workers' own user and system time
between 5 % and 95 % of the work; the broker is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from batuta.schemas.topics import Topics
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Generator

POM = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"
TOPICS = Topics("fraud")
BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One measurement."""

    stages: str
    partitions: int
    workers: int
    events: int
    events_per_second: float
    cpu_us_per_event: float


@dataclass(frozen=True)
class Shape:
    """How much is done, and by whom."""

    events: int
    partitions: int
    workers: int


def transaction(number: int) -> tuple[bytes, bytes]:
    card = b"c%d" % (number * 7919 % 5000)
    day, hour, minute = 1 + number // 100_000, number // 5_000 % 24, number // 100 % 60
    value = {
        "transaction_id": f"tx-{number:09d}",
        "event_time": f"2018-04-{day:02d}T{hour:02d}:{minute:02d}:{number % 60:02d}Z",
        "card_id": card.decode(),
        "terminal_id": f"t{number * 104_729 % 10_000}",
        "amount": round(1 + number * 37 % 20_011 / 80, 2),
        "currency": "EUR",
        "channel": "pos",
    }
    return card, orjson.dumps(value)


def load(bootstrap: str, events: int, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(TOPICS.events, partitions, 1)]).values():
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
        key, value = transaction(number)
        producer.produce(TOPICS.events, value, key)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


class Progress:
    """How far a stage is, from its committed offsets."""

    def __init__(self, bootstrap: str, stage: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": TOPICS.group(stage), "log_level": 0}
        )
        self._partitions = [TopicPartition(topic, n) for n in range(partitions)]
        self._last = 0

    def done(self) -> int:
        try:
            found = self._consumer.committed(self._partitions, timeout=10)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT:  # noqa: SLF001  its only name
                return self._last  # a busy broker; asked again in a moment
            if error.args[0].code() != KafkaError.NOT_COORDINATOR:
                raise
            return 0  # Apache Kafka makes its offsets topic at the first question
        self._last = sum(max(0, p.offset) for p in found)
        return self._last

    def end(self) -> int:
        return sum(self._consumer.get_watermark_offsets(p, timeout=10)[1] for p in self._partitions)


def cpu_s(workers: list[subprocess.Popen[bytes]]) -> float:
    total = 0.0
    for worker in workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


@contextmanager
def running(
    bootstrap: str, stages: str, partitions: int, workers: int
) -> Generator[list[subprocess.Popen[bytes]]]:
    started = [
        subprocess.Popen(
            [*BATUTA, "worker", "fraud", "--stages", stages, "--bootstrap", bootstrap],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BATUTA_PARTITIONS": str(partitions)},
        )
        for _ in range(workers)
    ]
    try:
        yield started
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait(60)


def measure(bootstrap: str, stages: str, progress: Progress, shape: Shape) -> Figure:
    """Run workers until their last stage is through; figures between 5 % and 95 %."""
    with running(bootstrap, stages, shape.partitions, shape.workers) as workers:

        def wait_until(share: float) -> int:
            while (done := progress.done()) < share * shape.events:
                assert all(worker.poll() is None for worker in workers), "a worker ended"
                time.sleep(0.02)
            return done

        first = wait_until(0.05)
        started, cpu = time.perf_counter(), cpu_s(workers)
        last = wait_until(0.95)
        seconds, used = time.perf_counter() - started, cpu_s(workers) - cpu
        while progress.done() < progress.end():
            assert all(worker.poll() is None for worker in workers), "a worker ended"
            time.sleep(0.1)
    done = last - first
    return Figure(stages, shape.partitions, shape.workers, done, done / seconds, used / done * 1e6)


def forget(bootstrap: str) -> None:
    """Delete the topics and the groups."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [n for n in admin.list_topics(timeout=10).topics if n.startswith("fraud")]
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)
    groups = [TOPICS.group("ingestion"), TOPICS.group("scoring")]
    for gone in admin.delete_consumer_groups(groups).values():
        gone.result(30)
    time.sleep(2)


def together(bootstrap: str, shape: Shape) -> Figure:
    load(bootstrap, shape.events, shape.partitions)
    scoring = Progress(bootstrap, "scoring", TOPICS.ingested, shape.partitions)
    figure = measure(bootstrap, "ingestion,scoring", scoring, shape)
    forget(bootstrap)
    return figure


def alone(bootstrap: str, shape: Shape) -> list[Figure]:
    load(bootstrap, shape.events, shape.partitions)
    ingestion = Progress(bootstrap, "ingestion", TOPICS.events, shape.partitions)
    scoring = Progress(bootstrap, "scoring", TOPICS.ingested, shape.partitions)
    return [
        measure(bootstrap, "ingestion", ingestion, shape),
        measure(bootstrap, "scoring", scoring, shape),
    ]


def run(bootstrap: str, options: argparse.Namespace) -> list[Figure]:
    shapes = [
        Shape(options.events, partitions, workers)
        for partitions in options.partitions
        for workers in options.workers
        if workers <= partitions
    ]
    figures: list[Figure] = []
    for shape in shapes:
        figures.append(together(bootstrap, shape))
        print(shown(figures[-1]), file=sys.stderr, flush=True)
    if len(shapes) == 1:
        figures += alone(bootstrap, shapes[0])
    return figures


def shown(figure: Figure) -> str:
    return (
        f"{figure.stages:18s} {figure.partitions} partitions {figure.workers} workers "
        f"{figure.events_per_second:10,.0f} events/s {figure.cpu_us_per_event:7.1f} CPU-us/event"
    )


def numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--partitions", type=numbers, default=[4], help="with commas")
    parser.add_argument("--workers", type=numbers, default=[1], help="with commas")
    parser.add_argument("--embedded", action="store_true", help="on the embedded broker instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = (
            BrokerProcess() if options.embedded else ApacheKafka(find_libraries(POM), Path(folder))
        )
        try:
            figures = run(broker.bootstrap, options)
        finally:
            broker.stop()
    if options.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures]}))
        return
    for figure in figures:
        print(shown(figure))


if __name__ == "__main__":
    main()
