"""A counting stage on either broker, what fills its topics, and a reader that is not ours."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, Record
from batuta.streams.broker.raw_client import RawClient
from batuta.streams.lanes.lane_testing import CountingWorker, Item, Layout, lane_settings
from batuta.streams.lanes.lossy_proxy import LossyProxy

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from pathlib import Path

    from batuta.streams.broker.testing import TopicFactory
    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.lane_testing import Counts
    from batuta.streams.lanes.stage import EventTime

DEADLINE_S = 30.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the proof over failpoints be asked for whole; see test_lane_failpoints.py."""
    parser.addoption("--failpoint-hits", type=int, default=1, help="kill -9 per failpoint")


@dataclass(frozen=True)
class Seen:
    """One record that a read_committed reader saw."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def event(self) -> dict[str, int]:
        return json.loads(self.value or b"")


class Bench:
    """One layout on one broker: publish, run workers, read what came out."""

    def __init__(self, bootstrap: str, layout: Layout) -> None:
        self.bootstrap = bootstrap
        self.layout = layout
        self.workers: list[CountingWorker] = []
        self._next_id = 0

    def worker(
        self,
        think: Callable[[Batch[Item, Counts]], Awaitable[None]] | None = None,
        bootstrap: str | None = None,
        ask: Callable[[Batch[Item, Counts]], Coroutine[Any, Any, None]] | None = None,
        event_time: EventTime | None = None,
        **overrides: object,
    ) -> CountingWorker:
        settings = lane_settings(bootstrap or self.bootstrap, **overrides)
        worker = CountingWorker(settings, self.layout, think, ask, event_time)
        self.workers.append(worker)
        return worker

    async def publish(self, count: int, keys: int = 7, topic: str | None = None) -> list[int]:
        """Publish `count` events over `keys` keys where their murmur2 says; return their ids."""
        ids = list(range(self._next_id, self._next_id + count))
        self._next_id += count
        place = PartitionOf(self.layout.partitions)
        rows = [(b"k%d" % (n % keys), b'{"id":%d}' % n) for n in ids]
        await self.send([(place(key), key, value) for key, value in rows], topic=topic)
        return ids

    async def send(
        self,
        rows: Iterable[tuple[int, bytes | None, bytes | None]],
        *,
        topic: str | None = None,
        transaction: str | None = None,
        abort: bool = False,
    ) -> None:
        """Write rows of (partition, key, value), in one transaction where one is named."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            transactional_id=transaction,
            max_request_size=64 << 20,
            acks="all",
        )
        await producer.start()
        try:
            if transaction is not None:
                await producer.begin_transaction()
            name = topic or self.layout.inputs[0]
            sent = [await producer.send(name, v, k, partition=p) for p, k, v in rows]
            await asyncio.gather(*sent)
            if transaction is not None:
                await (producer.abort_transaction() if abort else producer.commit_transaction())
        finally:
            await producer.stop()

    async def forward(self, outputs: Iterable[Output]) -> None:
        """Write records as they are, each to the partition it names."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for topic, key, value, headers, partition in outputs:
                await producer.send_and_wait(topic, value, key, partition, headers=list(headers))
        finally:
            await producer.stop()

    async def records(self, topic: str) -> list[Record]:
        """Everything committed on `topic`, as records of ours."""
        return [
            Record(topic, r.partition, r.offset, 0, r.key, r.value, tuple(r.headers.items()))
            for r in await self.read(topic)
        ]

    async def outputs(self) -> list[Seen]:
        return await self.read(self.layout.outputs)

    async def deadletters(self) -> list[Seen]:
        return await self.read(self.layout.deadletters)

    async def read(self, topic: str) -> list[Seen]:
        """Everything committed on `topic`, in order of partition and offset."""
        return await asyncio.to_thread(_read_committed, self.bootstrap, topic)

    async def committed(self) -> dict[tuple[str, int], int]:
        """The group's committed offsets, as any other client sees them."""
        return await asyncio.to_thread(_committed, self.bootstrap, self.layout)

    async def ends(self) -> dict[tuple[str, int], int]:
        """The end of every input partition, transaction markers included."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            tps = _inputs(self.layout)
            found = await consumer.end_offsets([TopicPartition(*tp) for tp in tps])
        finally:
            await consumer.stop()
        return {(tp.topic, tp.partition): end for tp, end in found.items()}

    async def until_output(self, count: int) -> list[Seen]:
        """Wait for at least `count` outputs and return them all."""
        await self.eventually(lambda: sum(w.committed for w in self.workers) >= count)
        return await self.outputs()

    async def ready(self, *workers: CountingWorker) -> None:
        for worker in workers or self.workers:
            await self.eventually(lambda worker=worker: worker.source.ready)

    @staticmethod
    async def eventually(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        """Return once `condition` holds.

        Raises:
            AssertionError: it did not within the deadline.
        """
        until = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < until, "did not happen in time"
            await asyncio.sleep(0.01)

    @staticmethod
    async def eventually_async(condition: Callable[[], Awaitable[object]]) -> None:
        """Return once awaiting `condition` gives what is true."""
        until = time.monotonic() + DEADLINE_S
        while not await condition():
            assert time.monotonic() < until, "did not happen in time"
            await asyncio.sleep(0.05)

    async def at_the_end(self) -> bool:
        """Whether every input offset is committed, transaction markers included."""
        return await self.committed() == await self.ends()

    async def commit_by_hand(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets for the group while nobody is in it."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=self.layout.group, enable_auto_commit=False
        )
        places = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
        await consumer.start()
        consumer.assign(list(places))
        await consumer.commit(places)
        await consumer.stop()

    async def limit(self, topic: str, bytes_max: int) -> None:
        """Lower a topic's `max.message.bytes`."""
        await self._alter({ConfigResource(ConfigResource.Type.TOPIC, topic): bytes_max})

    async def _alter(self, limits: Mapping[ConfigResource, int]) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for resource, bytes_max in limits.items():
            entry = ConfigEntry(
                "max.message.bytes",
                str(bytes_max),
                incremental_operation=AlterConfigOpType.SET,
            )
            resource.add_incremental_config(entry)
        for done in admin.incremental_alter_configs(list(limits)).values():
            await asyncio.to_thread(done.result, 10)

    @staticmethod
    def check_exactly_once(seen: Sequence[Seen], ids: Iterable[int]) -> None:
        """Each id came out once, and each key's counts rise by one in the order of its ids."""
        assert sorted(record.event["id"] for record in seen) == sorted(ids)
        by_key: dict[bytes | None, list[Mapping[str, int]]] = {}
        for record in seen:
            by_key.setdefault(record.key, []).append(record.event)
        for events in by_key.values():
            assert [event["count"] for event in events] == list(range(1, len(events) + 1))
            assert [event["id"] for event in events] == sorted(event["id"] for event in events)


def _inputs(layout: Layout) -> list[tuple[str, int]]:
    return [(topic, n) for topic in layout.inputs for n in range(layout.partitions)]


def _read_committed(bootstrap: str, topic: str) -> list[Seen]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{topic}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 64 << 20,
        }
    )
    try:
        from confluent_kafka import TopicPartition as Place  # noqa: PLC0415

        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([Place(topic, n, 0) for n in partitions])
        return sorted(
            _until_eof(consumer, set(partitions)), key=lambda seen: (seen.partition, seen.offset)
        )
    finally:
        consumer.close()


def _until_eof(consumer: Consumer, open_partitions: set[int]) -> Iterable[Seen]:
    until = time.monotonic() + DEADLINE_S
    while open_partitions:
        assert time.monotonic() < until, f"partitions {open_partitions} have no end"
        message = consumer.poll(0.2)
        if message is None:
            continue
        error = message.error()
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                raise KafkaException(error)
            open_partitions.discard(partition)
            continue
        assert offset is not None
        headers = {name: _bytes(value) for name, value in message.headers() or []}
        key, value = message.key(), message.value()
        yield Seen(
            partition,
            offset,
            None if key is None else _bytes(key),
            None if value is None else _bytes(value),
            headers,
        )


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _committed(bootstrap: str, layout: Layout) -> dict[tuple[str, int], int]:
    from confluent_kafka import TopicPartition as Place  # noqa: PLC0415

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": layout.group})
    try:
        places = consumer.committed([Place(*tp) for tp in _inputs(layout)], 10)
    finally:
        consumer.close()
    return {(place.topic, place.partition): max(place.offset, 0) for place in places}


@pytest.fixture
def make_bench(topics: TopicFactory) -> Callable[..., Awaitable[Bench]]:
    """Creates a layout's topics on the broker under test."""

    async def make(
        partitions: int = 2, inputs: int = 1, output_bytes_max: int | None = None
    ) -> Bench:
        large = {"max.message.bytes": str(32 << 20)}
        limited = {} if output_bytes_max is None else {"max.message.bytes": str(output_bytes_max)}
        layout = Layout(
            group=topics.unique("lanes"),
            inputs=tuple([await topics.create(f"in{n}", partitions, large) for n in range(inputs)]),
            outputs=await topics.create("out", partitions, limited),
            deadletters=await topics.create("dead", partitions, large),
            changelog=await topics.create("state", partitions, {"cleanup.policy": "compact"}),
            partitions=partitions,
        )
        await RawClient(topics.bootstrap).wait_for_coordinators(layout.group)
        return Bench(topics.bootstrap, layout)

    return make


@pytest.fixture
async def bench(make_bench: Callable[..., Awaitable[Bench]]) -> Bench:
    """A layout of two partitions and one input."""
    return await make_bench()


@pytest.fixture
async def proxy(broker: str) -> AsyncIterator[LossyProxy]:
    """Stands before the broker under test."""
    proxy = LossyProxy(broker)
    await proxy.start()
    yield proxy
    await proxy.stop()


#: A worker of its own process; told so, it dies before its n-th commit, or has a slow model.
CHILD = """
import asyncio, json, os, signal, sys
from aiokafka import AIOKafkaProducer
from batuta.streams.lanes.lossy_proxy import LossyProxy
from batuta.streams.lanes.lane_testing import CountingWorker, Layout, lane_settings

layout = json.loads(sys.argv[2])
layout["inputs"] = tuple(layout["inputs"])
left = int(sys.argv[3])
overrides = {"batch_records_max": 20, **json.loads(sys.argv[4])}
ask_s = overrides.pop("ask_s", None)
commit = AIOKafkaProducer.commit_transaction

async def commit_or_die(self):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    await commit(self)

async def think(batch):
    await asyncio.sleep(0.02)

async def ask(batch):
    await asyncio.sleep(ask_s)

AIOKafkaProducer.commit_transaction = commit_or_die
settings = lane_settings(sys.argv[1], **overrides)
worker = CountingWorker(settings, Layout(**layout), think, None if ask_s is None else ask)
asyncio.run(worker.run_for_ever())
"""


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a worker of a bench in a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(bench: Bench, commits: int = 0, **overrides: object) -> subprocess.Popen[bytes]:
        layout = json.dumps(dataclasses.asdict(bench.layout))
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            told = (bench.bootstrap, layout, str(commits), json.dumps(overrides))
            command = [sys.executable, "-c", CHILD, *told]
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.kill()
        child.wait()
