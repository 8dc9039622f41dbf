from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from batuta.streams.broker.clock import ManualClock
from batuta.streams.broker.folder_disk import DataDirInUseError, FolderDisk
from batuta.streams.broker.kept_broker import TOPIC, KeptBroker
from batuta.streams.broker.messages_groups import HeartbeatRequest, HeartbeatResponse
from batuta.streams.broker.messages_offsets import (
    OffsetFetchRequest,
    OffsetFetchResponse,
    TopicPartitions,
)
from batuta.streams.broker.process import BrokerProcess, BrokerProcessError
from batuta.streams.broker.raw_client import RawClient, build_batch, eventually
from batuta.streams.broker.testing import TopicFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORAGE_ERROR = 56


@pytest.fixture(params=["killed", "stopped"])
def end(request: pytest.FixtureRequest) -> Callable[[BrokerProcess], None]:
    """Both ways in which a broker ends."""
    return {"killed": BrokerProcess.kill, "stopped": BrokerProcess.stop}[str(request.param)]


def test_a_second_broker_on_the_same_data_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with BrokerProcess(data_dir=tmp_path):
        with pytest.raises(BrokerProcessError):
            BrokerProcess(data_dir=tmp_path)
        with pytest.raises(DataDirInUseError, match="another broker works on this data"):
            FolderDisk(tmp_path)
    assert "another broker works on this data directory" in capfd.readouterr().err
    with BrokerProcess(data_dir=tmp_path):
        pass


def test_damage_stops_the_start_and_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = KeptBroker(FolderDisk(tmp_path), ManualClock(1_700_000_000_000))
    kept.create()
    for value in (b"first", b"second"):
        kept.produce(build_batch([value]))
    (path,) = kept.segment_paths()
    kept.driver.broker.close()
    damaged = (tmp_path / path).read_bytes().replace(b"first", b"fIrst")
    (tmp_path / path).write_bytes(damaged)
    with pytest.raises(BrokerProcessError):
        BrokerProcess(data_dir=tmp_path)
    said = capfd.readouterr().err
    assert f"{path}, byte " in said
    assert "--salvage" in said


async def test_what_clients_did_is_there_after_a_restart(
    tmp_path: Path, end: Callable[[BrokerProcess], None]
) -> None:
    before = BrokerProcess(data_dir=tmp_path)
    topic = await TopicFactory(before.bootstrap).create("events")
    names = ("group", "tx")
    async with AIOKafkaProducer(
        bootstrap_servers=before.bootstrap, transactional_id="tx"
    ) as producer:
        for number in range(3):
            async with producer.transaction():
                await producer.send_and_wait(topic, b"%d" % number)
                read = {TopicPartition(topic, 0): OffsetAndMetadata(number, "")}
                await producer.send_offsets_to_transaction(read, "group")
    end(before)
    with BrokerProcess(data_dir=tmp_path) as after:
        raw = RawClient(after.bootstrap)
        await raw.wait_for_coordinators(*names)
        assert await committed(raw, "group", topic) == 2
        assert await values_of(after.bootstrap, topic) == [b"0", b"1", b"2"]


async def committed(raw: RawClient, group: str, topic: str) -> int:
    request = OffsetFetchRequest(group, (TopicPartitions(topic, (0,)),))
    answer = await raw.ask(request, OffsetFetchResponse, 5)
    return answer.topics[0].partitions[0].offset


async def values_of(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        (stable,) = (await consumer.end_offsets([partition])).values()
        found: list[bytes] = []
        while await consumer.position(partition) < stable:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [bytes(record.value or b"") for record in records]
    finally:
        await consumer.stop()
    return found


async def test_a_producer_that_outlives_the_broker_is_fenced_as_before(
    tmp_path: Path, end: Callable[[BrokerProcess], None]
) -> None:
    before = BrokerProcess(data_dir=tmp_path)
    port = int(before.bootstrap.rpartition(":")[2])
    topic = await TopicFactory(before.bootstrap).create("events")
    old = AIOKafkaProducer(bootstrap_servers=before.bootstrap, transactional_id="tx")
    new = AIOKafkaProducer(bootstrap_servers=before.bootstrap, transactional_id="tx")
    await old.start()
    await old.begin_transaction()
    await old.send_and_wait(topic, b"zombie")
    await new.start()
    end(before)
    with BrokerProcess(port, data_dir=tmp_path) as after:
        with pytest.raises(ProducerFenced):
            await old.send_and_wait(topic, b"zombie")
        async with new.transaction():
            await new.send_and_wait(topic, b"owner")
        assert await values_of(after.bootstrap, topic) == [b"owner"]
        await new.stop()
        await old.stop()


class Membership(Protocol):
    """What aiokafka knows of its place in a group."""

    generation: int
    member_id: str


async def test_members_keep_their_generation_over_a_restart(
    tmp_path: Path, end: Callable[[BrokerProcess], None]
) -> None:
    before = BrokerProcess(data_dir=tmp_path)
    port = int(before.bootstrap.rpartition(":")[2])
    topic = await TopicFactory(before.bootstrap).create("events")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=before.bootstrap, group_id="group")
    await consumer.start()
    coordinator = cast(
        "Membership",
        consumer._coordinator,  # pyright: ignore[reportPrivateUsage]
    )
    agreed = (coordinator.generation, coordinator.member_id)
    end(before)
    with BrokerProcess(port, data_dir=tmp_path) as after:
        beat = HeartbeatRequest("group", *agreed)
        answer = await RawClient(after.bootstrap).ask(beat, HeartbeatResponse)
        assert answer.error_code == 0
        assert (coordinator.generation, coordinator.member_id) == agreed
        await consumer.stop()


async def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    broker = BrokerProcess(data_dir=tmp_path)
    topic = await TopicFactory(broker.bootstrap).create("events")
    acknowledged: list[bytes] = []
    for round_number in range(3):
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True)
        await producer.start()
        start = len(acknowledged)
        sending = [
            asyncio.ensure_future(send(producer, topic, f"{round_number}-{n}", acknowledged))
            for n in range(2000)
        ]

        async def some_arrived(start: int = start) -> bool:
            return len(acknowledged) > start + 300

        await eventually(some_arrived)
        broker.kill()
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)
        stopping = asyncio.ensure_future(producer.stop())
        broker = BrokerProcess(int(broker.bootstrap.rpartition(":")[2]), data_dir=tmp_path)
        await stopping
    found = await values_of(broker.bootstrap, topic)
    broker.stop()
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found)), "an idempotent producer wrote twice"


async def send(
    producer: AIOKafkaProducer, topic: str, value: str, acknowledged: list[bytes]
) -> None:
    await producer.send_and_wait(topic, value.encode())
    acknowledged.append(value.encode())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        reason = "A FULL DISK WAS NOT TESTED: no tmpfs can be mounted here"
        pytest.skip(reason)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_file_system_acknowledges_nothing_and_recovers(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 400_000)
    disk = FolderDisk(small_disk / "data")
    kept = KeptBroker(disk, ManualClock(1_700_000_000_000))
    assert kept.create() == 0
    assert kept.commit_offset("group", 1) == 0
    codes = [kept.produce(build_batch([b"%02d" % n * 25_000])) for n in range(20)]
    accepted = codes.index(STORAGE_ERROR)
    assert 0 < accepted < 20
    assert codes == [0] * accepted + [STORAGE_ERROR] * (20 - accepted)
    assert (kept.end_of(), len(kept.values())) == (accepted, accepted)
    ballast.unlink()
    assert kept.place(build_batch([b"after"])).base_offset == accepted
    expected = kept.values()
    kept.driver.broker.close()
    again = KeptBroker(FolderDisk(small_disk / "data"), ManualClock(1_700_000_000_000))
    assert again.values() == expected
    assert again.offset_of("group") == 1
    assert again.report.torn_writes == 0
    again.driver.broker.close()


def test_more_files_than_may_be_open_are_used(tmp_path: Path) -> None:
    kept = KeptBroker(FolderDisk(tmp_path), ManualClock(1_700_000_000_000))
    kept.create(TOPIC, 400)
    for round_number in range(2):
        for partition in range(400):
            assert kept.produce(build_batch([b"%d" % round_number]), partition) == 0
    assert {tuple(kept.values(partition)) for partition in range(400)} == {(b"0", b"1")}
    assert len(list(Path("/proc/self/fd").iterdir())) < 400
    kept.driver.broker.close()


def test_what_was_written_is_synced_on_request(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path)
    kept = KeptBroker(disk, ManualClock(1_700_000_000_000))
    kept.create(flush_messages=2)
    kept.produce(build_batch([b"1"]))
    assert disk.unsynced
    disk.sync_all()
    kept.produce(build_batch([b"2"]))
    assert not disk.unsynced & set(kept.segment_paths())
    kept.driver.broker.close()


def test_a_copy_of_the_data_is_all_it_takes(tmp_path: Path) -> None:
    kept = KeptBroker(FolderDisk(tmp_path / "here"), ManualClock(1_700_000_000_000))
    kept.create()
    kept.produce(build_batch([b"x"]))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    copied = KeptBroker(FolderDisk(tmp_path / "there"), ManualClock(1_700_000_000_000))
    assert copied.values() == [b"x"]
    copied.driver.broker.close()
    kept.driver.broker.close()
