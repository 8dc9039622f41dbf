"""Restoring a lane's state, measured: from a snapshot and the changelog's tail, and from the topic.

    uv run python benchmarks/restore.py --keys 1000000 --churn 10 --tail 100000 --json

Writes `churn` times as many records as there are keys to one compacted changelog partition, reads
the state back from the topic alone, saves a snapshot of it, writes the tail, and reads the state
back from both. Rates are keys per second of the clock, from opening the reader to the state being
ready to be used. The table is a keyed table of small rows; `--windows` measures trailing windows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from aiokafka import TopicPartition
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.understanding.windows import TrailingWindows
from batuta.schemas.topics import Topics
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.lanes.kafka_log import KafkaLog
from batuta.streams.lanes.restore import Restored, restore
from batuta.streams.lanes.snapshots import Snapshots, SnapshotSpot
from batuta.streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.agents.state.port import Change, StateTable
    from batuta.streams.telemetry.facts import Fact

POM = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"
TOPIC = Topics("fraud").state("scoring")
BATCH = 20_000
MIB = 1 << 20
QUEUED_MAX = 500_000


class Row(NamedTuple):
    """What a key's entry holds."""

    seen: int
    total: float
    seen_ms: int


@dataclass(frozen=True)
class Figure:
    """One broker's measurement; snapshot and tail, and the topic alone."""

    broker: str
    table: str
    keys: int
    changelog_records: int
    tail_records: int
    snapshot_mib: float
    save_s: float
    snapshot_and_tail_s: float
    snapshot_and_tail_cpu_s: float
    snapshot_and_tail_keys_per_s: float
    topic_s: float
    topic_records_read: int
    topic_keys_per_s: float


class Timed(NamedTuple):
    """A restored state, and what that took."""

    restored: Restored[StateTable]
    took_s: float
    cpu_s: float


class Load:
    """A table, and batches that change its keys one after the other."""

    def __init__(self, keys: int, *, windows: bool) -> None:
        self._keys, self._windows = keys, windows
        self._table, self._turn = self.open(), 0

    def open(self) -> StateTable:
        if self._windows:
            return TrailingWindows(b"w", (3_600_000, 86_400_000), with_mean=True)
        codec = Codec(TEXT, Packed(">qdq", Row))
        return KeyedTable(b"k", codec, "restored", entries_max=2 * self._keys)

    def changes(self, records: int) -> Iterator[list[Change]]:
        """Yield the changes of batches that write `records` keys in all."""
        for begin in range(0, records, BATCH):
            count = min(BATCH, records - begin)
            self._table.begin()
            self._write(range(self._turn, self._turn + count))
            self._turn += count
            yield self._table.changes(self._turn)
            self._table.commit()

    def _write(self, turns: range) -> None:
        names = [f"card-{turn * 7_919 % self._keys:08d}" for turn in turns]
        if isinstance(self._table, TrailingWindows):
            times = np.array(turns, np.int64) // 10
            self._table.observe(names, times, np.full(len(names), 12.5))
        elif isinstance(self._table, KeyedTable):
            for name, turn in zip(names, turns, strict=True):
                self._table.put(name, Row(turn, turn * 0.5, turn))

    def digest(self) -> str:
        return digest_of(self._table)


def show_nothing(records: int) -> None:
    """Show nothing of what is left."""


def digest_of(table: StateTable) -> str:
    """Return the same for equal states."""
    total = 0
    for key, value in table.dump():
        found = hashlib.blake2b(key + b"\0" + (value or b""), digest_size=8).digest()
        total = (total + int.from_bytes(found, "big")) % (1 << 64)
    return f"{total:016x}"


class Bench:
    """One broker, one changelog partition, one snapshot."""

    def __init__(self, bootstrap: str, folder: Path, load: Load) -> None:
        self._load = load
        self._log = KafkaLog(load_settings(bootstrap=bootstrap))
        self._changelog = TopicPartition(TOPIC, 0)
        self._told: list[Fact] = []
        spot = SnapshotSpot(folder, "bench", self._changelog, lambda: time.time_ns() // 1_000_000)
        self.path = spot.path
        self.snapshots = Snapshots(spot, self._log, self._told.append)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 50,
                "batch.size": 900_000,
                "queue.buffering.max.messages": 2_000_000,
                "enable.idempotence": True,
            }
        )

    def write(self, records: int, title: str) -> int:
        """Write what `records` writes change; return how many records that is."""
        count = 0
        for changes in self._load.changes(records):
            for key, value in changes:
                self._producer.produce(TOPIC, value, key, partition=0)
            count += len(changes)
            self._producer.poll(0)
            while len(self._producer) > QUEUED_MAX:
                self._producer.poll(0.05)
            if count % (50 * BATCH) < BATCH:
                print(f"{title}: {count:,} records", file=sys.stderr)
        self._producer.flush()
        return count

    async def restore(self, *, with_snapshot: bool) -> Timed:
        """Restore once, and make sure that it is the state that was written."""
        gc.collect()
        gc.freeze()
        started, started_cpu = time.perf_counter(), time.process_time()
        restored = await restore(
            self._log,
            self._changelog,
            self._load.open,
            show_nothing,
            self.snapshots if with_snapshot else None,
        )
        took, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        assert restored.from_snapshot is with_snapshot, self._told
        assert digest_of(restored.state) == self._load.digest(), "another state was restored"
        return Timed(restored, took, cpu)


async def measure(name: str, bootstrap: str, folder: Path, options: argparse.Namespace) -> Figure:
    """Write, restore, save, write the tail, restore."""
    load = Load(options.keys, windows=options.windows)
    bench = Bench(bootstrap, folder, load)
    written = bench.write(options.keys * options.churn, name)
    alone = await bench.restore(with_snapshot=False)
    started = time.perf_counter()
    assert await bench.snapshots.save(alone.restored.state, alone.restored.covered)
    save_s, read, alone_s = time.perf_counter() - started, alone.restored.records, alone.took_s
    del alone
    tail = bench.write(options.tail, name)
    both = await bench.restore(with_snapshot=True)
    return Figure(
        broker=name,
        table="windows" if options.windows else "keyed",
        keys=options.keys,
        changelog_records=written,
        tail_records=tail,
        snapshot_mib=round(bench.path.stat().st_size / MIB, 1),
        save_s=round(save_s, 2),
        snapshot_and_tail_s=round(both.took_s, 2),
        snapshot_and_tail_cpu_s=round(both.cpu_s, 2),
        snapshot_and_tail_keys_per_s=round(options.keys / both.took_s),
        topic_s=round(alone_s, 2),
        topic_records_read=read,
        topic_keys_per_s=round(options.keys / alone_s),
    )


def create(bootstrap: str) -> None:
    """Create the changelog as declared, in segments small enough to be compacted meanwhile."""
    declared = {spec.name: spec for spec in Topics("fraud").declared(1)}[TOPIC]
    configs = {**declared.configs, "segment.bytes": str(64 * MIB)}
    topic = NewTopic(TOPIC, 1, 1, config=configs)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([topic])[TOPIC].result(30)


def run(name: str, options: argparse.Namespace) -> Figure:
    """Measure on one broker."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        broker: ApacheKafka | BrokerProcess
        if name == "apache":
            broker = ApacheKafka(find_libraries(POM), folder / "kafka")
        else:
            broker = BrokerProcess(data_dir=folder / "data")
        try:
            create(broker.bootstrap)
            return asyncio.run(measure(name, broker.bootstrap, folder / "state", options))
        finally:
            broker.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--churn", type=int, default=10)
    parser.add_argument("--tail", type=int, default=100_000)
    parser.add_argument(
        "--windows", action="store_true", help="trailing windows, not a keyed table"
    )
    parser.add_argument("--broker", choices=("apache", "embedded"), action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = [run(name, options) for name in options.broker or ("apache", "embedded")]
    if options.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures]}))
        return
    for figure in figures:
        print(
            f"{figure.broker:9s} snapshot and tail {figure.snapshot_and_tail_keys_per_s:9,d} keys/s"
            f" ({figure.snapshot_and_tail_s} s), topic alone {figure.topic_keys_per_s:9,d} keys/s"
            f" ({figure.topic_s} s, {figure.topic_records_read:,} records)"
        )


if __name__ == "__main__":
    main()
