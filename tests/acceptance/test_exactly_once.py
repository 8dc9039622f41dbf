"""Two workers under load, killed at random times: every event decided, none twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.schemas.topics import Topics
from batuta.streams.broker.process import BrokerProcess

MUTANTS = Path(__file__).parent / "mutants"
TOPICS = Topics("fraud")
PARTITIONS = 4
COMING_UP = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE)
BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")


@dataclass
class Fleet:
    """Workers as processes, each with a log; whatever happens, none outlives the test."""

    bootstrap: str
    logs: Path
    program: Sequence[str] = BATUTA
    running: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    started: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more worker of the two stages that decide."""
        self.started += 1
        arguments = ["worker", "fraud", "--stages", "ingestion,scoring"]
        log = (self.logs / f"worker-{self.started}.log").open("wb")
        with log:
            worker = subprocess.Popen(
                [*self.program, *arguments, "--bootstrap", self.bootstrap],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "BATUTA_BATCH_RECORDS_MAX": "500"},
                start_new_session=True,
            )
        self.running.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker as a power cut would."""
        self.running.remove(worker)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        """Let the rest drain."""
        for worker in self.running:
            worker.terminate()
        for worker in self.running:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(30)
            worker.kill()
            worker.wait()

    def said(self) -> str:
        """Return the end of every worker's log, for a failing test to show."""
        return "\n".join(
            f"{log.name}: {log.read_text(errors='replace')[-1500:]}"
            for log in sorted(self.logs.glob("worker-*.log"))
        )


@contextmanager
def fleet(bootstrap: str, logs: Path, program: Sequence[str] = BATUTA) -> Generator[Fleet]:
    workers = Fleet(bootstrap, logs, program)
    try:
        yield workers
    finally:
        workers.stop()


def transaction(number: int) -> tuple[bytes, bytes]:
    """Return key and value of a valid transaction; every hundredth is large."""
    card = b"c%d" % (number * 7919 % 5000)
    day, hour, minute = 1 + number // 100_000, number // 5_000 % 24, number // 100 % 60
    value = {
        "transaction_id": f"tx-{number:09d}",
        "event_time": f"2018-04-{day:02d}T{hour:02d}:{minute:02d}:{number % 60:02d}Z",
        "card_id": card.decode(),
        "terminal_id": f"t{number * 104_729 % 10_000}",
        "amount": 900.0 if number % 100 == 0 else round(1 + number * 37 % 20_011 / 80, 2),
        "currency": "EUR",
        "channel": "pos",
    }
    return card, orjson.dumps(value)


def prepare(bootstrap: str, decision_bytes_max: int = 1_048_588) -> None:
    """Create the source, and the decisions with a limit of their own."""
    limit = {"max.message.bytes": str(decision_bytes_max)}
    topics = [
        NewTopic(TOPICS.events, PARTITIONS, 1),
        NewTopic(TOPICS.decisions, PARTITIONS, 1, config=limit),
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics(topics).values():
        created.result(30)


def publish(bootstrap: str, numbers: range) -> None:
    """Publish transactions as a producer that partitions like the JVM clients."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
            "linger.ms": 20,
        }
    )
    for number in numbers:
        key, value = transaction(number)
        producer.produce(TOPICS.events, value, key)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def committed(bootstrap: str, group: str, topic: str) -> int:
    """Return the sum of a group's committed offsets on a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
    try:
        found = consumer.committed(partitions, timeout=20)
    except KafkaException as error:
        # Apache Kafka makes its offsets topic at the first question.
        if error.args[0].code() not in COMING_UP:
            raise
        return 0
    finally:
        consumer.close()
    return sum(max(0, partition.offset) for partition in found)


def ends(bootstrap: str, topic: str) -> list[int]:
    """Return where a read_committed reader stops, per partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "ends",
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    found = [
        consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=20)[1]
        for n in range(PARTITIONS)
    ]
    consumer.close()
    return found


def event_ids(bootstrap: str, topic: str, name: Callable[[bytes], str]) -> Counter[str]:
    """Count what a read_committed reader sees on a topic, by event id."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "verification",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    reader.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
    seen: Counter[str] = Counter()
    at_end: set[int] = set()
    while len(at_end) < PARTITIONS:
        for message in reader.consume(5000, 5):
            error = message.error()
            if error is None:
                seen[name(message.value() or b"")] += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition() or 0)
            else:
                raise AssertionError(error)
    reader.close()
    return seen


def wait_until(what: Callable[[], bool], seconds: float, workers: Fleet) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, (
            f"not within {seconds} s; workers said:\n{workers.said()}"
        )
        time.sleep(0.2)


def decided_ids(bootstrap: str) -> Counter[str]:
    return event_ids(bootstrap, TOPICS.decisions, lambda value: json.loads(value)["event_id"])


def finished(bootstrap: str, events: int) -> bool:
    """Whether both stages have committed all there is to read."""
    if committed(bootstrap, TOPICS.group("ingestion"), TOPICS.events) < events:
        return False
    return committed(bootstrap, TOPICS.group("scoring"), TOPICS.ingested) >= sum(
        ends(bootstrap, TOPICS.ingested)
    )


def ingested(bootstrap: str, least: int) -> bool:
    return committed(bootstrap, TOPICS.group("ingestion"), TOPICS.events) > least


def decided(bootstrap: str, least: int) -> bool:
    return sum(ends(bootstrap, TOPICS.decisions)) > least


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_lost_or_doubled_by_three_kills(own_broker: str, tmp_path: Path) -> None:
    events, seed = 200_000, random.randrange(2**32)
    chance = random.Random(seed)
    prepare(own_broker)
    with fleet(own_broker, tmp_path) as workers:
        older, newer = workers.start(), workers.start()
        publish(own_broker, range(events))
        for kill in range(3):
            wait_until(partial(ingested, own_broker, events * kill // 5), 120, workers)
            time.sleep(chance.uniform(0.0, 0.6))
            workers.kill(older)
            older, newer = newer, workers.start()
        wait_until(lambda: finished(own_broker, events), 180, workers)
    seen = decided_ids(own_broker)
    doubled = {event for event, times in seen.items() if times > 1}
    lost = {f"tx-{n:09d}" for n in range(events)} - seen.keys()
    assert (len(lost), len(doubled)) == (0, 0), f"seed {seed}\n{workers.said()}"
    assert len(seen) == events


@pytest.mark.slow
def test_the_proof_sees_a_worker_that_skips_the_transaction(tmp_path: Path) -> None:
    events, broker = 20_000, BrokerProcess()
    program = (sys.executable, str(MUTANTS / "without_transaction.py"))
    try:
        prepare(broker.bootstrap)
        with fleet(broker.bootstrap, tmp_path, program) as workers:
            worker = workers.start()
            publish(broker.bootstrap, range(events))
            for kill in range(3):
                wait_until(partial(decided, broker.bootstrap, kill * 1_000), 60, workers)
                workers.kill(worker)
                worker = workers.start()
            wait_until(lambda: finished(broker.bootstrap, events), 120, workers)
        assert max(decided_ids(broker.bootstrap).values()) > 1
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("program", "lost"),
    [
        pytest.param(BATUTA, False, id="ours"),
        pytest.param(
            (sys.executable, str(MUTANTS / "ignoring_refusals.py")), True, id="ignoring-refusals"
        ),
    ],
)
def test_a_refused_output_never_lets_an_offset_through(
    program: tuple[str, ...],
    lost: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    events, broker = 2_000, BrokerProcess()
    try:
        # Batches of decisions do not fit, single decisions do.
        prepare(broker.bootstrap, decision_bytes_max=20_000)
        with fleet(broker.bootstrap, tmp_path, program) as workers:
            publish(broker.bootstrap, range(events))
            workers.start()
            wait_until(lambda: finished(broker.bootstrap, events), 90, workers)
        assert (len(decided_ids(broker.bootstrap)) < events) is lost
    finally:
        broker.stop()
