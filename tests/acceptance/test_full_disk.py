"""A full disk, really full: nothing acknowledged is lost, and with room again all goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from batuta.schemas.partition import PartitionOf
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.lane_testing import CountingWorker, Layout, lane_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 60.0
VALUE = b"x" * 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of three megabytes, half of them taken by a file called ballast."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        reason = "A FULL DISK WAS NOT TESTED: no tmpfs can be mounted here"
        pytest.skip(reason)
    (place / "ballast").write_bytes(b"x" * 1_500_000)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> None:
    """Take whatever room is left."""
    with (place / "filling").open("ab", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def make_room(place: Path) -> None:
    (place / "filling").unlink(missing_ok=True)
    (place / "ballast").unlink(missing_ok=True)


def values(bootstrap: str, topic: str) -> Counter[bytes]:
    """Count what a reader sees of the first partition."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "verification",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(topic, 0, 0)])
    seen: Counter[bytes] = Counter()
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            message = reader.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                seen[bytes(message.key() or b"")] += 1  # pyright: ignore[reportArgumentType]
            elif error.code() == KafkaError._PARTITION_EOF:
                return seen
    finally:
        reader.close()
    raise AssertionError("the partition has no end")


class Sender:
    """Sends records one by one and notes what becomes of each."""

    def __init__(self, bootstrap: str, topic: str, **options: object) -> None:
        self.acknowledged: list[bytes] = []
        self.refusals: Counter[int] = Counter()
        self._topic = topic
        self._number = 0
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0, **options}
        )

    def send(self) -> int:
        """Send one record and return the error code, 0 for none."""
        key, codes = b"%04d" % self._number, list[int]()
        self._number += 1

        def note(error: KafkaError | None, _: Message) -> None:
            codes.append(0 if error is None else error.code())
            if error is None:
                self.acknowledged.append(key)
            else:
                self.refusals[error.code()] += 1

        self._producer.produce(self._topic, VALUE, key, partition=0, on_delivery=note)
        self._producer.flush(PATIENCE_S)
        return codes[0]


def test_a_broker_on_a_full_disk_refuses_serves_and_goes_on(small_disk: Path) -> None:
    broker = BrokerProcess(data_dir=small_disk / "data")
    port = int(broker.bootstrap.rpartition(":")[2])
    topic = asyncio.run(TopicFactory(broker.bootstrap).create("events"))
    sender = Sender(broker.bootstrap, topic, retries=0)
    try:
        codes = [sender.send() for _ in range(120)]
        full_at = codes.index(KafkaError.KAFKA_STORAGE_ERROR)
        assert 20 < full_at < 120
        fill(small_disk)
        assert {sender.send() for _ in range(3)} == {KafkaError.KAFKA_STORAGE_ERROR}
        expected = Counter(sender.acknowledged)
        assert values(broker.bootstrap, topic) == expected, "reads are served all along"
        broker.kill()
        broker = BrokerProcess(port, data_dir=small_disk / "data")
        assert values(broker.bootstrap, topic) == expected, "a start needs no room"
        make_room(small_disk)
        after = Sender(broker.bootstrap, topic, retries=0)
        assert [after.send() for _ in range(5)] == [0] * 5, "no restart was needed"
        expected += Counter(after.acknowledged)
        broker.kill()
        broker = BrokerProcess(port, data_dir=small_disk / "data")
        assert values(broker.bootstrap, topic) == expected
    finally:
        broker.stop()


async def layout_on(bootstrap: str) -> Layout:
    topics = TopicFactory(bootstrap)
    return Layout(
        group=topics.unique("lanes"),
        inputs=(await topics.create("in", 2),),
        outputs=await topics.create("out", 2),
        deadletters=await topics.create("dead", 2),
        changelog=await topics.create("state", 2, {"cleanup.policy": "compact"}),
        partitions=2,
    )


def publish(bootstrap: str, layout: Layout, ids: range) -> None:
    producer, place = Producer({"bootstrap.servers": bootstrap}), PartitionOf(2)
    for n in ids:
        key = b"k%d" % (n % 7)
        producer.produce(layout.inputs[0], b'{"id":%d}' % n, key, partition=place(key))
    assert producer.flush(PATIENCE_S) == 0


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


async def test_lanes_wait_for_a_full_broker_and_lose_nothing(small_disk: Path) -> None:
    with BrokerProcess(data_dir=small_disk / "data") as broker:
        layout = await layout_on(broker.bootstrap)
        publish(broker.bootstrap, layout, range(2_000))
        settings = lane_settings(broker.bootstrap, batch_records_max=20)
        worker = CountingWorker(settings, layout)
        async with worker.running():
            await eventually(lambda: worker.committed >= 200)
            fill(small_disk)
            await eventually(lambda: worker.metric("batuta_lane_restarts_total") >= 1)
            assert worker.committed < 2_000
            assert worker.source.failure is None
            make_room(small_disk)
            await eventually(lambda: worker.committed >= 2_000)
            publish(broker.bootstrap, layout, range(2_000, 2_100))
            await eventually(lambda: worker.committed >= 2_100)
        again = CountingWorker(settings, layout)
        async with again.running():
            await eventually(lambda: again.source.ready)
            kept = {key: n for state in again.states for key, n in state.kept.items()}
        assert worker.committed == 2_100
        assert kept == Counter(b"k%d" % (n % 7) for n in range(2_100))


async def test_a_lane_that_cannot_save_its_snapshot_goes_on(small_disk: Path) -> None:
    with BrokerProcess() as broker:
        layout = await layout_on(broker.bootstrap)
        settings = lane_settings(
            broker.bootstrap,
            state_dir=small_disk / "state",
            snapshot_interval_ms=50,
            snapshot_records_min=1,
        )
        worker = CountingWorker(settings, layout)

        def saved(result: str) -> float:
            return worker.metric("batuta_state_snapshots_total", result=result)

        fill(small_disk)
        async with worker.running():
            await eventually(lambda: worker.source.ready)
            ids = iter(range(0, 10_000, 50))
            while saved("save_failed") < 2:
                first = next(ids)
                publish(broker.bootstrap, layout, range(first, first + 50))
                await eventually(lambda first=first: worker.committed >= first + 50)
            assert saved("saved") == 0
            assert worker.metric("batuta_lane_restarts_total") == 0
            make_room(small_disk)
            while saved("saved") < 1:
                first = next(ids)
                publish(broker.bootstrap, layout, range(first, first + 50))
                await eventually(lambda first=first: worker.committed >= first + 50)
        assert not list((small_disk / "state").glob("*.tmp"))
        again = CountingWorker(settings, layout)
        async with again.running():
            await eventually(lambda: again.source.ready)
            assert again.metric("batuta_state_snapshots_total", result="loaded") == 2
            kept = {key: n for state in again.states for key, n in state.kept.items()}
        assert kept == Counter(b"k%d" % (n % 7) for n in range(next(ids)))
