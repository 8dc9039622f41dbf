"""A broker process that is killed in the middle of a commit, and the one that comes after it."""

from __future__ import annotations

import asyncio
import select
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from batuta.streams.broker.process import BrokerProcess
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.kafka_shim import abandon_producer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

#: A broker whose n-th write after a file appears is its last: of it a share is done.
MORTAL = """
import os, signal, sys
from pathlib import Path
from batuta.streams.broker import __main__, serving
from batuta.streams.broker.folder_disk import FolderDisk

armed, left, share = Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

class MortalDisk(FolderDisk):
    def write(self, path, position, data):
        global left
        if armed.exists():
            left -= 1
            if left == 0:
                super().write(path, position, data[: int(len(data) * share)])
                os.kill(os.getpid(), signal.SIGKILL)
        super().write(path, position, data)

serving.FolderDisk = MortalDisk
sys.argv[1:] = ["--port", "0", "--until-stdin-closes", "--data-dir", sys.argv[1]]
sys.exit(__main__.main())
"""


@contextmanager
def mortal(data_dir: Path, armed: Path, last: int, share: float) -> Generator[str]:
    """Run such a broker; wait, at the end, until it is dead."""
    arguments = [str(data_dir), str(armed), str(last), str(share)]
    process = subprocess.Popen(
        [sys.executable, "-c", MORTAL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], 30)[0], "it did not start"
        yield process.stdout.readline().decode().split()[1]
        assert process.wait(30) == -9
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def transact(bootstrap: str, topic: str, arm: Callable[[], None]) -> None:
    """Write to two partitions and a group, then commit into the broker's death."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="tx")
    await producer.start()
    await producer.begin_transaction()
    for place in range(2):
        await producer.send_and_wait(topic, b"value", partition=place)
    await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 7}, "group")
    arm()
    committing = asyncio.ensure_future(producer.commit_transaction())
    await asyncio.wait({committing}, timeout=1)
    committing.cancel()
    await asyncio.wait({committing})
    await abandon_producer(producer)


async def found(bootstrap: str, topic: str) -> tuple[list[bytes | None], int | None]:
    """What a read_committed reader sees of both partitions, and the group's offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id="group",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    places = [TopicPartition(topic, place) for place in range(2)]
    consumer.assign(places)
    await consumer.seek_to_beginning()
    values: list[bytes | None] = []
    async with asyncio.timeout(20):
        for place in places:
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for records in (await consumer.getmany(place, timeout_ms=100)).values():
                    values += [record.value for record in records]
    offset = await consumer.committed(places[0])
    await consumer.stop()
    return values, offset


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["before", "torn"])
@pytest.mark.parametrize(
    ("last", "committed"),
    [
        pytest.param(1, False, id="the decision"),
        pytest.param(2, True, id="the first marker"),
        pytest.param(3, True, id="the second marker"),
        pytest.param(4, True, id="the end"),
    ],
)
async def test_a_commit_that_the_broker_died_in_is_whole_or_nothing(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    last: int,
    committed: bool,  # noqa: FBT001 - a case
    share: float,
) -> None:
    data_dir, armed = tmp_path / "data", tmp_path / "armed"
    with mortal(data_dir, armed, last, share) as bootstrap:
        topic = await TopicFactory(bootstrap).create("events", 2)
        await transact(bootstrap, topic, armed.touch)
    with BrokerProcess(data_dir=data_dir) as after:
        # Whoever takes the transactional id next ends what the last one left open.
        producer = AIOKafkaProducer(bootstrap_servers=after.bootstrap, transactional_id="tx")
        await producer.start()
        await producer.stop()
        seen = await found(after.bootstrap, topic)
    assert seen == (([b"value"] * 2, 7) if committed else ([], None))
    said = capfd.readouterr().err
    assert ("torn_write_cut" in said) is (share > 0)
    assert f"completed_transactions={int(committed)}" in said or not (committed or share)
