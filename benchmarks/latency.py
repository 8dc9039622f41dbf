"""The age of decisions over one hop, open loop, engine by engine: p50, p99 and p99.9.

    uv run --group peers python benchmarks/latency.py --json

Events are due at a fixed rate and their age counts from when they were due, even where they went
out late (G. Tene, "How NOT to Measure Latency"), to when a committed decision is read. Each engine
runs at 20,000 and 50,000 events/s and at 25, 50 and 80 % of its own capacity, which is measured
first in a closed loop; each with its own default for how often it commits, and at equal commit
intervals where it has such a setting. Loader, reader, broker and engine share the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from engine import POM, machine, prepare, say
from peers.work import event
from yardstick.engines import ENGINES, Engine, Launch
from yardstick.meter import EngineProcess
from yardstick.outcome import WrongOutputError
from yardstick.rounds import Bench, EngineFailedError
from yardstick.topics import Topics

from batuta.streams.broker.apache import KAFKA_VERSION, ApacheKafka, find_libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection

RATES = (20_000.0, 50_000.0)
SHARES = (0.25, 0.5, 0.8)
#: Engines that commit when a batch is through, and have no interval to set.
WITHOUT_INTERVAL = {"batuta", "limit", "limit, state written", "bytewax"}
START_S = 120.0
#: How long after the last event was due its decision may still come.
LAST_S = 15.0
#: Of the events in the open loop, the first ones go by unmetered.
SETTLING_SHARE = 0.3

Failed = dict[str, str]


@dataclass(frozen=True)
class Point:
    """An engine at a rate.

    Attributes:
        got: the share of events that were decided in time; below 1 there are no ages, for those
            of the others would flatter.
    """

    engine: str
    commit_interval_ms: int | None
    events_per_second: float
    of_capacity: float | None
    got: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


@dataclass(frozen=True)
class Load:
    """What is published: `warm` events at once, then the others when they are due.

    Attributes:
        event: makes the key and the value of a number.
        named: the field of a decision that names its event; the number stands behind `tx-`.
    """

    bootstrap: str
    topic: str
    warm: int
    count: int
    rate: float
    event: Callable[[int], tuple[bytes, bytes]] = event
    named: str = "transaction_id"


def publish(load: Load, ears: Connection) -> None:
    """Publish in a process of its own; told to start, answers when the first event is due."""
    producer = Producer(
        {
            "bootstrap.servers": load.bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            # Else a retry on a busy machine publishes an event twice, and it is decided twice.
            "enable.idempotence": True,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for number in range(load.warm):
        key, value = load.event(number)
        producer.produce(load.topic, value, key)
        producer.poll(0)
    producer.flush()
    rows = [load.event(load.warm + number) for number in range(load.count)]
    ears.recv()
    start_s, sent = time.monotonic() + 0.2, 0
    ears.send(start_s)
    while sent < load.count:
        due = due_by(time.monotonic() - start_s, load)
        for key, value in rows[sent:due]:
            producer.produce(load.topic, value, key)
        sent = due
        producer.poll(0)
        time.sleep(0.001)
    producer.flush()


def due_by(elapsed_s: float, load: Load) -> int:
    """Return how many events are due by then; none before the start."""
    return min(load.count, int(elapsed_s * load.rate) + 1) if elapsed_s >= 0.0 else 0


@contextmanager
def publishing(load: Load) -> Generator[Connection]:
    mouth, ears = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(load, ears))
    process.start()
    try:
        yield mouth
    finally:
        process.kill()
        process.join()


class Reader:
    """Reads decisions as they are committed, and notes when each was seen."""

    def __init__(self, bootstrap: str, partitions: int, topic: str, load: Load) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "latency",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        self._load = load
        self.seen_s = np.zeros(load.warm + load.count)

    def read_until(self, events: int, deadline_s: float, process: EngineProcess) -> int:
        """Read until so many events are decided or time is up; return how many are.

        Raises:
            WrongOutputError: an event was decided twice, or one that nobody published.
        """
        got = int(np.count_nonzero(self.seen_s))
        while got < events and time.monotonic() < deadline_s:
            if process.ended:
                raise EngineFailedError(f"it ended after {got} events: {process.said()}")
            messages = self._consumer.consume(5_000, 0.005)
            now_s = time.monotonic()
            for message in messages:
                if message.error() is None:
                    name = orjson.loads(message.value() or b"")[self._load.named]
                    number = int(name[3:])
                    if number >= len(self.seen_s) or self.seen_s[number]:
                        raise WrongOutputError(f"{name} was decided twice, or never published")
                    self.seen_s[number] = now_s
                    got += 1
        return got

    def ages_ms(self, start_s: float) -> np.ndarray:
        """Return the ages that count, of events that were decided."""
        first = round(self._load.count * SETTLING_SHARE)
        seen_s = self.seen_s[self._load.warm + first :]
        due_s = start_s + np.arange(first, self._load.count) / self._load.rate
        return (seen_s - due_s)[seen_s > 0] * 1000

    def close(self) -> None:
        self._consumer.close()


class Latency:
    """Measures points on one broker."""

    def __init__(self, topics: Topics, options: argparse.Namespace) -> None:
        self._topics = topics
        self._options = options
        self._runs = 0

    def points(
        self, engine: Engine, launch: Launch, rate: float, share: float | None
    ) -> Iterator[Point]:
        """Yield the points of an engine at a rate, one for each commit interval."""
        set_to = () if engine.name in WITHOUT_INTERVAL else self._options.intervals
        for interval_ms in (None, *set_to):
            got, ages = self.measure(engine, launch, rate, interval_ms)
            about = (engine.name, interval_ms, round(rate), share, round(got, 4))
            point = Point(*about, *quantiles(got, ages))
            say(f"  {shown(point)}")
            yield point

    def measure(
        self, engine: Engine, launch: Launch, rate: float, interval_ms: int | None
    ) -> tuple[float, np.ndarray]:
        """Return the share of events that were decided, and the ages."""
        self._runs += 1
        source, output = f"due-{self._runs}", f"decided-{self._runs}"
        side = [name.format(output) for name in engine.topics]
        self._topics.create(source, output, *side)
        count = int(rate * self._options.seconds)
        load = Load(self._topics.bootstrap, source, self._options.warm, count, rate)
        reader = Reader(load.bootstrap, self._topics.partitions, output, load)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            told = {
                **launch.environment,
                "BENCH_BOOTSTRAP": self._topics.bootstrap,
                "BENCH_INPUT": source,
                "BENCH_OUTPUT": output,
                "BENCH_GROUP": f"latency-{self._runs}",
                "BENCH_PARTITIONS": str(self._topics.partitions),
                "BENCH_FOLDER": folder,
                "BENCH_COMMIT_INTERVAL_MS": "" if interval_ms is None else str(interval_ms),
            }
            process = EngineProcess(launch.command, told, Path(folder) / "engine.log")
            try:
                with publishing(load) as loader:
                    return ages_of(reader, load, loader, process)
            finally:
                process.kill()
                reader.close()
                self._topics.delete_all_but()


def quantiles(got: float, ages_ms: np.ndarray) -> list[float | None]:
    """Return p50, p99 and p99.9; nothing where decisions are missing."""
    if got < 1.0:
        return [None, None, None]
    return [round(float(q), 1) for q in np.percentile(ages_ms, (50, 99, 99.9))]


def ages_of(
    reader: Reader, load: Load, loader: Connection, process: EngineProcess
) -> tuple[float, np.ndarray]:
    """Return the share of events that were decided, and the ages."""
    warm = reader.read_until(load.warm, time.monotonic() + START_S, process)
    if warm < load.warm:
        raise EngineFailedError(f"it did {warm} events in {START_S} s: {process.said()}")
    loader.send("start")
    while not loader.poll(0.1):
        reader.read_until(load.warm + 1, time.monotonic() + 0.01, process)
    start_s = float(loader.recv())
    ends_s = start_s + load.count / load.rate + LAST_S
    reader.read_until(load.warm + load.count, ends_s, process)
    ages = reader.ages_ms(start_s)
    expected = load.count - round(load.count * SETTLING_SHARE)
    if not len(ages):
        raise EngineFailedError("nothing was decided in time")
    return len(ages) / expected, ages


def capacity(topics: Topics, options: argparse.Namespace, engine: Engine, launch: Launch) -> float:
    """Return how many events/s an engine does in a closed loop."""
    return Bench(topics, options.events, 1 / 3).run(engine, launch).events_per_second


def capacities(
    topics: Topics, options: argparse.Namespace, launches: dict[Engine, Launch], failed: Failed
) -> dict[Engine, float]:
    """Measure every engine's capacity; the broker has warmed up by then, for all of them."""
    found: dict[Engine, float] = {}
    for engine, launch in launches.items():
        with noted(engine, failed):
            found[engine] = capacity(topics, options, engine, launch)
            topics.delete_all_but()
    return found


@contextmanager
def noted(engine: Engine, failed: Failed) -> Iterator[None]:
    """Note that an engine failed, and go on with the others."""
    try:
        yield
    except (EngineFailedError, WrongOutputError) as error:
        failed[engine.name] = f"{type(error).__name__}: {error}"
        say(f"  {engine.name}: NO FIGURE: {error}")


def points(latency: Latency, topics: Topics, options: argparse.Namespace) -> dict[str, object]:
    """Measure rate by rate, the engines by turns, so that all meet the same machine."""
    failed: Failed = {}
    chosen = [e for e in ENGINES if e.name in options.only]
    prepared = prepare(chosen, failed)
    launches = {e: prepared[e.name] for e in chosen if e.name in prepared}
    known = capacities(topics, options, launches, failed)
    rates: list[tuple[float, float | None]] = [(rate, None) for rate in options.rates]
    rates += [(share, share) for share in options.shares]
    found: list[Point] = []
    for rate, share in rates:
        for engine in known:
            if engine.name not in failed:
                due = rate if share is None else share * known[engine]
                with noted(engine, failed):
                    found += latency.points(engine, launches[engine], due, share)
    return {
        "points": [asdict(point) for point in found],
        "capacities": {engine.name: round(rate) for engine, rate in known.items()},
        "failed": failed,
        "seconds": options.seconds,
        "broker": f"Apache Kafka {KAFKA_VERSION}, one node",
        "versions": {name: launch.version for name, launch in prepared.items()},
        "machine": machine(),
    }


def shown(point: Point) -> str:
    interval = "default" if point.commit_interval_ms is None else f"{point.commit_interval_ms} ms"
    of = "" if point.of_capacity is None else f"({point.of_capacity:.0%} of its own)"
    head = f"{point.engine:16s} commit {interval:8s} {point.events_per_second:8,.0f}/s {of:18s} "
    if point.p50_ms is None or point.p99_ms is None or point.p999_ms is None:
        return f"{head} NO FIGURE: {point.got:.1%} were decided in time"
    return f"{head}p50 {point.p50_ms:8.1f}  p99 {point.p99_ms:8.1f}  p99.9 {point.p999_ms:8.1f} ms"


def numbers(kind: type) -> type:
    def parse(text: str) -> tuple[object, ...]:
        return tuple(kind(one) for one in text.split(",") if one)

    return parse  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="batuta,kafka streams,quix,bytewax", help="engines")
    parser.add_argument("--rates", type=numbers(float), default=RATES, help="events/s, commas")
    parser.add_argument("--shares", type=numbers(float), default=SHARES, help="of capacity")
    parser.add_argument("--intervals", type=numbers(int), default=(10, 100), help="commit, ms")
    parser.add_argument("--seconds", type=float, default=10.0, help="of open loop at each point")
    parser.add_argument("--warm", type=int, default=50_000, help="events before it")
    parser.add_argument("--events", type=int, default=400_000, help="to measure capacity with")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - {e.name for e in ENGINES}:
        known = ", ".join(e.name for e in ENGINES)
        parser.error(f"--only {min(unknown)}: expected some of {known}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = ApacheKafka(find_libraries(POM), Path(folder))
        try:
            topics = Topics(broker.bootstrap, options.partitions)
            report = points(Latency(topics, options), topics, options)
        finally:
            broker.stop()
    if options.json:
        print(json.dumps(report, indent=2))
    sys.exit(1 if report["failed"] else 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
