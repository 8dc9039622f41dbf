"""A snapshot is used when it is certainly right, and refused by name when it is not."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from batuta.agents.state.codecs import JSON, TEXT, Codec
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Tables
from batuta.agents.understanding.deduplication import Deduplication
from batuta.schemas.errors import StateCorruptError
from batuta.streams.broker.codec import NO_UUID
from batuta.streams.broker.messages_cluster import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
    NewTopic,
)
from batuta.streams.broker.messages_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from batuta.streams.lanes.lane_facts import SnapshotEnded
from batuta.streams.lanes.log_testing import write
from batuta.streams.lanes.restore import Restored, restore
from batuta.streams.lanes.snapshots import SnapshotPolicy, Snapshots, SnapshotSpot
from batuta.streams.telemetry.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from conftest import Cluster

    from batuta.agents.state.codecs import JsonValue
    from batuta.streams.lanes.log import Log

POLICY = SnapshotPolicy(interval_ms=1_000, records_min=5, tombstones_kept_ms=100_000)
START_MS = 1_000_000


class Memory(Tables):
    """A lane's state of two tables."""

    def __init__(self) -> None:
        codec = Codec(TEXT, JSON)
        self.things: KeyedTable[str, JsonValue] = KeyedTable(b"k", codec, "things", entries_max=999)
        super().__init__((self.things, Deduplication(b"d", 60_000, 1_000)))


@dataclass
class Lane:
    """A lane that writes its changelog and knows how far its state covers it."""

    log: Log
    folder: Path
    topic: str
    partition: int = 0
    group: str = "fraud-scoring"
    now_ms: int = START_MS
    covered: int = 0
    memory: Memory = field(default_factory=Memory)
    told: list[Fact] = field(default_factory=list[Fact])
    left: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        changelog = TopicPartition(self.topic, self.partition)
        spot = SnapshotSpot(self.folder, self.group, changelog, lambda: self.now_ms)
        self.changelog = changelog
        self.snapshots = Snapshots(spot, self.log, self.told.append, POLICY)
        self.path = spot.path

    async def run(self, *writes: tuple[str, int | None]) -> None:
        """Commit one batch."""
        self.memory.begin()
        for key, value in writes:
            if value is None:
                self.memory.things.delete(key)
            else:
                self.memory.things.put(key, value)
        rows = [(key, value, ()) for key, value in self.memory.changes(self.now_ms)]
        place = (self.topic, self.partition)
        self.covered = (await write(self.log, {place: rows}))[place]
        self.memory.commit()

    async def save(self) -> bool:
        return await self.snapshots.save(self.memory, self.covered)

    async def restart(self) -> Restored[Memory]:
        """Restore as a new process would."""
        restored = await restore(self.log, self.changelog, Memory, self.left.append, self.snapshots)
        self.memory, self.covered = restored.state, restored.covered
        return restored

    @property
    def results(self) -> list[str]:
        return [fact.result for fact in self.told if isinstance(fact, SnapshotEnded)]

    def held(self) -> dict[str, JsonValue]:
        return dict(self.memory.things.items())


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Callable[..., Awaitable[Lane]]:
    """A lane that wrote twenty batches, with a snapshot of the first ten."""

    async def started() -> Lane:
        topic = await cluster.create("state", 2, {"cleanup.policy": "delete"})
        lane = Lane(cluster.log(), tmp_path / "state", topic)
        for turn in range(10):
            await lane.run((f"k{turn % 4}", turn), ("gone", turn))
        assert await lane.save()
        await lane.run(("gone", None))
        for turn in range(10, 20):
            await lane.run((f"k{turn % 5}", turn))
        return lane

    return started


FINAL = {"k0": 15, "k1": 16, "k2": 17, "k3": 18, "k4": 19}


async def make_anew(cluster: Cluster, topic: str) -> None:
    """Delete a topic and create it under the same name."""
    gone = DeleteTopicsRequest((DeleteTopicState(topic, NO_UUID),), (topic,), 5_000)
    await cluster.ask(gone, DeleteTopicsResponse, 4)
    again = CreateTopicsRequest((NewTopic(topic, 2, 1, (), ()),), 5_000, False)
    async with asyncio.timeout(30):
        while (await cluster.ask(again, CreateTopicsResponse, 5)).topics[0].error_code:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_what_follows_a_snapshot_is_all_that_is_read(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    whole = await Lane(lane.log, lane.folder / "none", lane.topic).restart()
    restored = await lane.restart()
    assert lane.held() == FINAL
    assert dict(restored.state.dump()) == dict(whole.state.dump())
    assert (restored.from_snapshot, restored.records) == (True, 11)
    assert (whole.from_snapshot, whole.records) == (False, 31)
    assert restored.covered == whole.covered >= lane.covered
    assert lane.results == ["saved", "loaded"]
    assert lane.left[-1] == 0
    assert max(lane.left) > 11


async def test_a_lane_goes_on_after_a_snapshot_and_replaces_it(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    await lane.restart()
    await lane.run(("new", 1))
    assert await lane.save()
    assert [path.name for path in lane.folder.iterdir()] == ["fraud-scoring-0.snapshot"]
    assert lane.path.stat().st_mode & 0o077 == 0
    restored = await lane.restart()
    assert (restored.from_snapshot, restored.records) == (True, 0)
    assert lane.held() == {**FINAL, "new": 1}


async def test_without_a_snapshot_the_changelog_is_enough(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    lane.path.unlink()
    restored = await lane.restart()
    assert (restored.from_snapshot, lane.held()) == (False, FINAL)
    assert lane.results == ["saved", "absent"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


@pytest.mark.parametrize("cluster", ["in-process"], indirect=True)
async def test_a_damaged_snapshot_is_refused_wherever_it_is_damaged(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    whole = lane.path.read_bytes()
    flipped = [flip(whole, at) for at in range(len(whole))]
    cut = [whole[:end] for end in range(0, len(whole), 7)]
    for damaged in [*flipped, *cut, whole + b"\0", whole + whole]:
        lane.told.clear()
        lane.path.write_bytes(damaged)
        restored = await lane.restart()
        assert not restored.from_snapshot
        assert lane.held() == FINAL
        assert lane.results in (["damaged"], ["format"])


async def test_a_snapshot_of_another_format_is_refused(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    whole = lane.path.read_bytes()
    lane.path.write_bytes(whole[:14] + b"\x00\x02" + whole[16:])
    await lane.restart()
    assert (lane.results[-1], lane.held()) == ("format", FINAL)


async def test_a_snapshot_of_another_lane_is_refused(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    for other in (
        Lane(lane.log, lane.folder, lane.topic, partition=1),
        Lane(lane.log, lane.folder, lane.topic, group="fraud-ingestion"),
    ):
        shutil.copy(lane.path, other.path)
        await other.restart()
        assert other.results == ["foreign"]
        assert other.held() == ({} if other.partition else FINAL)


async def test_a_snapshot_nearly_as_old_as_tombstones_are_kept_is_refused(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    for now_ms, result in (
        (START_MS + 90_000, "loaded"),
        (START_MS + 90_001, "stale"),
        (START_MS - 1_000, "loaded"),
        (START_MS - 1_001, "stale"),
    ):
        lane.now_ms = now_ms
        await lane.restart()
        assert (lane.results[-1], lane.held()) == (result, FINAL)


async def test_a_changelog_made_anew_is_told_from_the_old_one(
    cluster: Cluster, start: Callable[..., Awaitable[Lane]]
) -> None:
    lane = await start()
    await make_anew(cluster, lane.topic)
    other = Lane(cluster.log(), lane.folder, lane.topic)
    await other.restart()
    assert (other.results, other.held()) == (["ahead"], {})
    for turn in range(10):
        await other.run((f"k{turn % 4}", turn), ("gone", turn))
    await other.run(("only", 1))
    expected = other.held()
    assert other.covered > 0
    again = Lane(cluster.log(), lane.folder, lane.topic)
    await again.restart()
    assert (again.results, again.held()) == (["unverified"], expected)


async def test_deleted_records_behind_a_snapshot_make_it_useless(
    cluster: Cluster, start: Callable[..., Awaitable[Lane]]
) -> None:
    lane = await start()
    entry = DeleteRecordsTopic(lane.topic, (DeleteRecordsPartition(0, lane.covered - 1),))
    await cluster.ask(DeleteRecordsRequest((entry,), 5_000), DeleteRecordsResponse, 2)
    await lane.restart()
    assert (lane.results[-1], lane.held()) == ("behind", {"k4": 19})


async def test_a_snapshot_that_the_tables_cannot_read_is_refused(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    other = Deduplication(b"x", 60_000, 1_000)
    other.begin()
    other.classify(["id"], [bytes(8)], START_MS)
    other.changes(START_MS)
    other.commit()
    assert await lane.snapshots.save(other, lane.covered)
    restored = await lane.restart()
    assert (lane.results[-1], lane.held()) == ("unreadable", FINAL)
    assert not restored.from_snapshot


async def test_an_unreadable_changelog_record_is_named(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    written = await write(lane.log, {(lane.topic, 0): [(b"kbad", b"\x63new", ())]})
    offset = written[lane.topic, 0] - 1
    with pytest.raises(StateCorruptError, match=rf"{lane.topic}\[0\]@{offset}: .*version 63"):
        await lane.restart()
    assert lane.results == ["saved", "unreadable"]


# Saving


async def test_a_save_that_is_cancelled_leaves_the_snapshot_before_as_it_was(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    before = lane.path.read_bytes()
    waiting = asyncio.Event()

    async def wait(work: Callable[[], None]) -> None:
        waiting.set()
        await asyncio.Event().wait()
        work()

    spot = SnapshotSpot(lane.folder, lane.group, lane.changelog, lambda: START_MS)
    slow = Snapshots(spot, lane.log, lane.told.append, POLICY, wait)
    saving = asyncio.create_task(slow.save(lane.memory, lane.covered))
    await waiting.wait()
    assert len(list(lane.folder.iterdir())) == 2
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    assert list(lane.folder.iterdir()) == [lane.path]
    assert lane.path.read_bytes() == before
    assert (await lane.restart()).from_snapshot


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("A FULL DISK WAS NOT TESTED: no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_costs_the_snapshot_and_nothing_else(
    start: Callable[..., Awaitable[Lane]], small_disk: Path
) -> None:
    origin = await start()
    lane = Lane(origin.log, small_disk, origin.topic)
    await lane.restart()
    assert await lane.save()
    before = lane.path.read_bytes()
    (small_disk / "ballast").write_bytes(b"x" * (1_000_000 - len(before)))
    big = Deduplication(b"d", 60_000, 100_000)
    big.begin()
    big.classify([f"{n}-{'x' * 60}" for n in range(9_000)], [bytes(8)] * 9_000, START_MS)
    big.changes(START_MS)
    big.commit()
    assert not await lane.snapshots.save(big, lane.covered)
    assert lane.results[-1] == "save_failed"
    assert lane.path.read_bytes() == before
    assert names_in(small_disk) == ["ballast", lane.path.name]
    assert (await lane.restart()).from_snapshot


async def test_a_snapshot_is_due_by_time_and_records_or_by_age_alone(
    start: Callable[..., Awaitable[Lane]],
) -> None:
    lane = await start()
    snapshots, covered = lane.snapshots, lane.covered
    assert await lane.save()
    lane.now_ms += 999
    assert not snapshots.due(covered + 5)
    lane.now_ms += 1
    assert not snapshots.due(covered + 4)
    assert snapshots.due(covered + 5)
    lane.now_ms += 24_000
    assert snapshots.due(covered)
    lane.now_ms -= 50_000
    assert not snapshots.due(covered + 5)
    lane.now_ms += 1_000
    assert snapshots.due(covered + 5)


async def test_no_snapshot_is_taken_of_a_changelog_without_records(
    cluster: Cluster, tmp_path: Path
) -> None:
    lane = Lane(cluster.log(), tmp_path, await cluster.create("state"))
    assert not await lane.save()
    assert lane.results == ["save_failed"]
    assert names_in(tmp_path) == []
