"""Takeover, measured: from a worker's `kill -9` to the first commit of who takes over its lanes.

    uv run python benchmarks/takeover.py --rounds 5 --json

Two workers share the lanes under a steady load, with default timeouts and without instance ids.
One is killed; its lanes are those whose offsets then stand still. Each round measures, per stage,
until the first of them is committed again and until all are; then a new worker takes the dead one's
place. Most of the time is the group waiting for the dead one's heartbeat (`session_timeout_ms`) and
for the living one's next, which brings it the news (`heartbeat_interval_ms`).
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.schemas.topics import Topics
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

POM: Final = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"
TOPICS: Final = Topics("fraud")
STAGES: Final = {"ingestion": TOPICS.events, "scoring": TOPICS.ingested}
PARTITIONS: Final = 4
BATUTA: Final = (
    sys.executable,
    "-c",
    "import sys; from batuta.streams.cli import main; sys.exit(main())",
)
#: A living lane commits within this; a dead one's cannot, as its session lasts longer.
STILL_S: Final = 2.5
PATIENCE_S: Final = 180.0
Offsets = dict[int, int]


@dataclass(frozen=True)
class Round:
    """One kill.

    Attributes:
        lanes: how many stood still: the dead worker's, and in scoring those too that could not
            read on behind its open transaction.
        first_s: until the first of them was committed again.
        all_s: until all were.
    """

    stage: str
    lanes: int
    first_s: float
    all_s: float


class Offset:
    """What a stage has committed."""

    def __init__(self, bootstrap: str, stage: str) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": TOPICS.group(stage), "log_level": 0}
        self._consumer = Consumer(settings)
        self._places = [TopicPartition(STAGES[stage], n) for n in range(PARTITIONS)]

    def now(self) -> Offsets:
        try:
            found = self._consumer.committed(self._places, timeout=10)
        except KafkaException:  # its coordinator comes up
            return {}
        return {place.partition: place.offset for place in found}


@contextmanager
def load(bootstrap: str, events_per_second: int) -> Generator[None]:
    """Publish transactions until the block ends."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5}
    )
    ended = threading.Event()

    def publish() -> None:
        for number in count():
            if ended.wait(1 / events_per_second):
                return
            card = f"c{number * 7919 % 5000}"
            value = {
                "transaction_id": f"tx-{number:09d}",
                "event_time": f"2018-04-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:00Z",
                "card_id": card,
                "terminal_id": f"t{number * 104_729 % 10_000}",
                "amount": round(1 + number * 37 % 20_011 / 80, 2),
                "currency": "EUR",
                "channel": "pos",
            }
            producer.produce(TOPICS.events, orjson.dumps(value), card)
            producer.poll(0)

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        yield
    finally:
        ended.set()
        publishing.join()
        producer.flush(10)


def worker(bootstrap: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*BATUTA, "worker", "fraud", "--stages", ",".join(STAGES), "--bootstrap", bootstrap],
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def until_members(bootstrap: str, members: int) -> None:
    """Wait until both groups are stable with so many members."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    groups = [TOPICS.group(stage) for stage in STAGES]

    def stable() -> bool:
        try:
            found = [f.result(10) for f in admin.describe_consumer_groups(groups).values()]
        except (KafkaException, TimeoutError):  # their coordinator comes up
            return False
        return all(g.state.name == "STABLE" and len(g.members) == members for g in found)

    until(stable)


def until_each_moved(stages: Mapping[str, Offset]) -> None:
    """Wait until every lane of every stage has committed once more."""
    for stage in stages.values():
        before = stage.now()
        until(
            lambda stage=stage, before=before: _moved(before, stage.now()) == set(range(PARTITIONS))
        )


def kill(victim: subprocess.Popen[bytes], stages: Mapping[str, Offset]) -> list[Round]:
    """Kill a worker and watch until its lanes are committed again."""
    victim.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    victim.wait()
    # What it had committed last may be seen a moment later only.
    time.sleep(STILL_S)
    before = {stage: offset.now() for stage, offset in stages.items()}
    time.sleep(STILL_S)
    dead = {
        stage: set(before[stage]) - _moved(before[stage], offset.now())
        for stage, offset in stages.items()
    }
    moved_s: dict[str, dict[int, float]] = {stage: {} for stage in stages}

    def all_moved() -> bool:
        for stage, offset in stages.items():
            for lane in _moved(before[stage], offset.now()) & dead[stage]:
                moved_s[stage].setdefault(lane, time.monotonic() - killed_s)
        return all(len(moved_s[stage]) == len(dead[stage]) for stage in stages)

    until(all_moved)
    assert all(moved_s.values()), "a stage had no lane on the victim: nothing was measured"
    return [
        Round(stage, len(dead[stage]), min(moved.values()), max(moved.values()))
        for stage, moved in moved_s.items()
    ]


def _moved(before: Offsets, now: Offsets) -> set[int]:
    return {lane for lane, offset in now.items() if offset > before.get(lane, -1)}


def run(bootstrap: str, rounds: int, events_per_second: int) -> list[Round]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(TOPICS.events, PARTITIONS, 1)]).values():
        created.result(30)
    stages = {stage: Offset(bootstrap, stage) for stage in STAGES}
    workers = [worker(bootstrap)]
    found: list[Round] = []
    try:
        with load(bootstrap, events_per_second):
            until_members(bootstrap, 1)
            for _ in range(rounds):
                workers.append(worker(bootstrap))
                until_members(bootstrap, 2)
                until_each_moved(stages)
                found += kill(workers.pop(0), stages)
    finally:
        for one in workers:
            one.kill()
            one.wait()
    return found


def report(broker: str, rounds: list[Round]) -> dict[str, object]:
    settings = load_settings()
    return {
        "broker": broker,
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": settings.heartbeat_interval_ms,
        "first_commit_s": {
            "median": round(statistics.median(r.first_s for r in rounds), 2),
            "max": round(max(r.first_s for r in rounds), 2),
        },
        "all_lanes_s": {
            "median": round(statistics.median(r.all_s for r in rounds), 2),
            "max": round(max(r.all_s for r in rounds), 2),
        },
        "rounds": [asdict(one) for one in rounds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events-per-second", type=int, default=200)
    parser.add_argument("--broker", choices=("embedded", "apache", "both"), default="both")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = ("embedded", "apache") if options.broker == "both" else (options.broker,)
    figures: list[dict[str, object]] = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            broker = (
                BrokerProcess()
                if name == "embedded"
                else ApacheKafka(find_libraries(POM), Path(folder))
            )
            try:
                rounds = run(broker.bootstrap, options.rounds, options.events_per_second)
            finally:
                broker.stop()
        figures.append(report(name, rounds))
    if options.json:
        print(json.dumps({"figures": figures}))
        return
    for figure in figures:
        print(f"{figure['broker']}: first commit {figure['first_commit_s']} s, "
              f"all lanes {figure['all_lanes_s']} s")  # fmt: skip


if __name__ == "__main__":
    main()
