"""What bad input costs: throughput with 1 % of it against throughput without, in one run.

    uv run python benchmarks/bad_input.py --rounds 9 --json

One worker of ingestion and scoring on Apache Kafka. Each round is published while the worker is
held still, then the time is taken until it is through; rounds of good input alone and rounds with
bad input take turns, so that whatever else the machine does meets both. The ratio is the median
over pairs of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.schemas.topics import Topics
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.demo.spoil import WAYS
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Generator

POM: Final = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"
BATUTA: Final = (
    sys.executable,
    "-c",
    "import sys; from batuta.streams.cli import main; sys.exit(main())",
)
TOPICS: Final = Topics("fraud")
SOURCE: Final = PIPELINES["fraud"].pipeline.source
PARTITIONS: Final = 4
PATIENCE_S: Final = 300.0
TICKS: Final = os.sysconf("SC_CLK_TCK")

Row = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class Round:
    """One round: how many of its events were bad, and what it took."""

    bad: int
    events_per_second: float
    cpu_us_per_event: float


@dataclass(frozen=True)
class Result:
    """The whole run; ratios are with bad input to without."""

    events_per_round: int
    bad_share: float
    throughput_ratio: float
    cpu_ratio: float
    good: list[Round]
    mixed: list[Round]


def transaction(number: int) -> Row:
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


def rows_of(first: int, count: int, share: float) -> list[Row]:
    """Make transactions, every so many of them spoiled, in every way there is by turns."""
    rows = [transaction(number) for number in range(first, first + count)]
    ways = cycle(WAYS.values())
    for at in range(0, count, round(1 / share)) if share else ():
        key, value = rows[at]
        assert value is not None
        rows[at] = key, next(ways)(value, SOURCE)
    return rows


def publish(bootstrap: str, rows: list[Row]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "linger.ms": 5,
        }
    )
    for key, value in rows:
        producer.produce(TOPICS.events, value, key)
    assert producer.flush(60) == 0


class Progress:
    """How far the group of a stage is on its input."""

    def __init__(self, bootstrap: str, stage: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": TOPICS.group(stage),
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self._partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]

    def left(self) -> int:
        committed = self._consumer.committed(self._partitions, timeout=20)
        ends = (self._consumer.get_watermark_offsets(p, timeout=20)[1] for p in self._partitions)
        return sum(end - max(0, p.offset) for end, p in zip(ends, committed, strict=True))


@contextmanager
def worker(bootstrap: str) -> Generator[int, None, None]:
    """Run a worker that is not given up while it is held still; yields its process id."""
    process = subprocess.Popen(
        [*BATUTA, "worker", "fraud", "--stages", "ingestion,scoring", "--bootstrap", bootstrap],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "BATUTA_SESSION_TIMEOUT_MS": "25000", "BATUTA_LOG_LEVEL": "error"},
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(60)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(bootstrap: str, pid: int, rows: list[Row], bad: int) -> Round:
    """Publish a round to a worker held still, let it go and wait until it is through."""
    stages = [
        Progress(bootstrap, "ingestion", TOPICS.events),
        Progress(bootstrap, "scoring", TOPICS.ingested),
    ]
    os.kill(pid, signal.SIGSTOP)
    publish(bootstrap, rows)
    cpu, started = cpu_s(pid), time.perf_counter()
    os.kill(pid, signal.SIGCONT)
    for stage in stages:
        while stage.left() > 0:
            assert time.perf_counter() - started < PATIENCE_S, "the worker is stuck"
            time.sleep(0.01)
    seconds, used = time.perf_counter() - started, cpu_s(pid) - cpu
    return Round(bad, len(rows) / seconds, used / len(rows) * 1e6)


def run(bootstrap: str, rounds: int, events: int, share: float) -> Result:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(TOPICS.events, PARTITIONS, 1)]).values():
        created.result(30)
    good: list[Round] = []
    mixed: list[Round] = []
    with worker(bootstrap) as pid:
        # The first round waits for the worker to come up, and warms everything.
        publish(bootstrap, rows_of(0, events, share))
        warm = Progress(bootstrap, "scoring", TOPICS.ingested)
        while len(admin.list_topics(timeout=20).topics) < len(TOPICS.declared(1)):
            time.sleep(0.1)
        measure(bootstrap, pid, rows_of(events, events, 0.0), 0)
        assert warm.left() == 0
        first = 2 * events
        for number in range(rounds):
            # Which of the two comes first changes from pair to pair.
            for spoiled in (number % 2 == 0, number % 2 == 1):
                rows = rows_of(first, events, share if spoiled else 0.0)
                first += events
                bad = round(events * share) if spoiled else 0
                (mixed if spoiled else good).append(measure(bootstrap, pid, rows, bad))
    pairs = list(zip(mixed, good, strict=True))
    return Result(
        events_per_round=events,
        bad_share=share,
        throughput_ratio=statistics.median(
            one.events_per_second / other.events_per_second for one, other in pairs
        ),
        cpu_ratio=statistics.median(
            one.cpu_us_per_event / other.cpu_us_per_event for one, other in pairs
        ),
        good=good,
        mixed=mixed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of each kind")
    parser.add_argument("--events", type=int, default=40_000, help="per round")
    parser.add_argument("--bad", type=float, default=0.01, help="share of bad input")
    parser.add_argument("--embedded", action="store_true", help="on the embedded broker instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = (
            BrokerProcess() if options.embedded else ApacheKafka(find_libraries(POM), Path(folder))
        )
        try:
            result = run(broker.bootstrap, options.rounds, options.events, options.bad)
        finally:
            broker.stop()
    if options.json:
        print(json.dumps(asdict(result)))
        return
    for name, rounds in (("good input alone", result.good), ("with bad input", result.mixed)):
        rate = statistics.median(one.events_per_second for one in rounds)
        cpu = statistics.median(one.cpu_us_per_event for one in rounds)
        print(f"{name:18s} {rate:10,.0f} events/s {cpu:7.1f} CPU-us/event")
    print(
        f"{result.bad_share:.0%} bad input keeps {result.throughput_ratio:.1%} of the throughput, "
        f"at {result.cpu_ratio:.1%} of the CPU"
    )


if __name__ == "__main__":
    main()
