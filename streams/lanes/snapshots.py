"""Snapshots: a lane's state on local disk, so that a restart reads the tail of its changelog alone.

A snapshot only saves time. The changelog has everything, so one that is not certainly right is
refused by name, and the lane reads its changelog from the beginning:

    damaged      a checksum fails, or the file was never finished
    format       another release wrote it
    foreign      it is another group's, topic's or partition's
    stale        it is nearly as old as tombstones are kept: what was deleted since could come back
    ahead        it covers more than the changelog holds: the topic was made anew, or lost its end
    behind       records were deleted, not compacted, between what it covers and the beginning
    unverified   the last record it covers is not where it was, with its time and content
    unreadable   a table cannot read it, or what follows it

`unverified` finds a topic that was deleted and made anew and has grown past the snapshot, and one
whose end was lost and written again. Compaction may have taken that record too: then the snapshot
is refused although it was right, which costs time alone; the newest segment, where the record
lies, is never compacted. Not found is a topic that was made anew with the same record at the same
offset and the same millisecond, as a copy of its bytes would have it, and otherwise other records.

How a lane uses it, with the changelog's offset that its state covers in hand: what `restore`
returned, then what `transact` returned for the changelog's partition; never the topic's end, which
may be another owner's by now. Between two batches, with none open:

    if snapshots.due(covered):
        await snapshots.save(state, covered)

Nothing of the state may change until `save` returns. It works in slices of the loop's time, ends
with an fsync in a thread, and never raises for want of a disk; cancelled, it leaves the file before
as it was. A lane that drains may save once more, due or not.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from batuta.agents.state.port import Change, Restorable
from batuta.schemas.errors import LaterError, SnapshotRefusedError
from batuta.schemas.record import Record
from batuta.schemas.topics import TOMBSTONES_KEPT_MS
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.lane_facts import SnapshotEnded
from batuta.streams.lanes.log import Log, PartitionReader
from batuta.streams.lanes.slices import Slices
from batuta.streams.lanes.snapshot_file import Anchor, Head, SnapshotFile, SnapshotWriter
from batuta.streams.telemetry.facts import Fact

__all__ = ["Candidate", "SnapshotPolicy", "SnapshotSpot", "Snapshots"]

_BLOCK_RECORDS: Final = 2_000
_READ_RECORDS: Final = 5_000
#: How far below what is covered the last record is looked for, in offsets.
_LOOK_BACK: Final = (16, 1_024, 65_536)
_PRIVATE: Final = 0o600

Offload = Callable[[Callable[[], None]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """When a snapshot is due, and how old it may be.

    Attributes:
        interval_ms: at least so much time lies between two.
        records_min: so many offsets of changelog make another one worth it.
        tombstones_kept_ms: the changelog's `delete.retention.ms`.
    """

    interval_ms: int = 300_000
    records_min: int = 20_000
    tombstones_kept_ms: int = TOMBSTONES_KEPT_MS

    @property
    def age_max_ms(self) -> int:
        """How old a snapshot may be: the rest is for reading what follows it, and for clocks."""
        return self.tombstones_kept_ms * 9 // 10

    @property
    def renewed_after_ms(self) -> int:
        """After how long a snapshot is taken again for its age alone."""
        return self.tombstones_kept_ms // 4


@dataclass(frozen=True, slots=True)
class SnapshotSpot:
    """Where the snapshot of one lane is kept.

    Attributes:
        folder: `state_dir`; made where it is missing.
        group: the stage's consumer group.
        changelog: the lane's partition of the stage's changelog.
        clock: milliseconds since 1970 UTC.
    """

    folder: Path
    group: str
    changelog: TopicPartition
    clock: Callable[[], int]

    @property
    def path(self) -> Path:
        """The file; each snapshot replaces the one before."""
        return self.folder / f"{quote(self.group, safe='')}-{self.changelog.partition}.snapshot"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot that was found right, and what was read behind it to find that out.

    Attributes:
        file: the records.
        head: what they cover.
        records: how many there are.
        tail: what was read of the changelog behind it; the reader stands behind that.
    """

    file: SnapshotFile
    head: Head
    records: int
    tail: Sequence[Record]


async def _in_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


class Snapshots:
    """The snapshots of one lane."""

    def __init__(
        self,
        spot: SnapshotSpot,
        log: Log,
        tell: Callable[[Fact], None],
        policy: SnapshotPolicy | None = None,
        offload: Offload = _in_thread,
    ) -> None:
        """Bind a lane to its place on disk.

        Args:
            spot: where.
            log: where its changelog is.
            tell: takes the facts.
            policy: when, and how old.
            offload: runs what waits for the disk; a simulation runs it at once.
        """
        self._spot = spot
        self._log = log
        self._tell = tell
        self._policy = policy or SnapshotPolicy()
        self._offload = offload
        self._covered = 0
        #: When the last one was taken or tried; None before the first question.
        self._taken_ms: int | None = None

    # Saving

    def due(self, covered: int) -> bool:
        """Whether a snapshot is worth taking, with the state at this offset of its changelog."""
        now_ms = self._spot.clock()
        if self._taken_ms is None or now_ms < self._taken_ms:
            # Not at the start, when every lane of the worker would; nor for a clock set back.
            self._taken_ms = now_ms
        age_ms, records = now_ms - self._taken_ms, covered - self._covered
        if age_ms >= self._policy.renewed_after_ms:
            return covered > 0
        return age_ms >= self._policy.interval_ms and records >= self._policy.records_min

    async def save(self, state: Restorable, covered: int) -> bool:
        """Replace the lane's snapshot by `state`; say whether that was done.

        Args:
            state: no batch is open on it, and none begins meanwhile.
            covered: the changelog's offset behind the last record that the state holds.
        """
        spot = self._spot
        now_ms = self._taken_ms = spot.clock()
        temporary = spot.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            head = Head(
                group=spot.group,
                topic=spot.changelog.topic,
                partition=spot.changelog.partition,
                covered=covered,
                anchor=await self._anchor(covered),
                taken_ms=now_ms,
            )
            records = await self._write(temporary, head, state)
        except (SnapshotRefusedError, LaterError, KafkaError, OSError) as error:
            self._tell(SnapshotEnded(spot.changelog.partition, "save_failed", str(error)))
            return False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._covered = covered
        detail = f"{records} records below {covered}"
        self._tell(SnapshotEnded(spot.changelog.partition, "saved", detail))
        return True

    async def _anchor(self, covered: int) -> Anchor:
        """Read the last record below `covered` back, as the broker keeps it."""
        reader = self._log.reader(self._spot.changelog)
        try:
            await reader.start()
            for distance in _LOOK_BACK:
                start = max(reader.beginning, covered - distance)
                last = None
                reader.seek(start)
                while reader.position < min(covered, reader.end):
                    for record in await reader.read(_READ_RECORDS):
                        last = record if record.offset < covered else last
                if last is not None:
                    return _anchor_of(last)
                if start == reader.beginning:
                    break
        finally:
            await reader.stop()
        raise SnapshotRefusedError("unverified", f"no record stands below {covered}")

    async def _write(self, temporary: Path, head: Head, state: Restorable) -> int:
        """Write the file beside its place, then put it there."""
        self._spot.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._spot.folder.glob(f"{self._spot.path.stem}.*.tmp"):
            left.unlink(missing_ok=True)
        slices = Slices()
        with _private(temporary) as file:
            writer = SnapshotWriter(file, head)
            for block in _blocks(state.dump()):
                writer.add(block)
                await slices.pause()
            records = writer.finish()
        reach("snapshot.sync")
        await self._offload(lambda: _sync(temporary))
        reach("snapshot.put")
        await self._offload(lambda: _put(temporary, self._spot.path))
        return records

    # Loading

    async def find(self, reader: PartitionReader) -> Candidate | None:
        """Return the lane's snapshot if it is certainly right; where not, say why.

        Args:
            reader: of the changelog, started; it is moved.
        """
        file = SnapshotFile(self._spot.path)
        try:
            head = file.head()
            self._check_head(head, reader)
            records = await self._check_file(file)
            tail = await _read_behind(head, reader)
        except FileNotFoundError:
            self._tell(SnapshotEnded(self._spot.changelog.partition, "absent"))
            return None
        except OSError as error:
            self.refuse("damaged", str(error))
            return None
        except SnapshotRefusedError as refused:
            self.refuse(refused.reason, refused.detail)
            return None
        return Candidate(file, head, records, tail)

    def used(self, candidate: Candidate) -> None:
        """Say that a candidate was loaded."""
        self._covered, self._taken_ms = candidate.head.covered, candidate.head.taken_ms
        detail = f"{candidate.records} records below {candidate.head.covered}"
        self._tell(SnapshotEnded(self._spot.changelog.partition, "loaded", detail))

    def refuse(self, reason: str, detail: str) -> None:
        """Say why there is none that can be used."""
        self._tell(SnapshotEnded(self._spot.changelog.partition, reason, detail))

    def _check_head(self, head: Head, reader: PartitionReader) -> None:
        spot, age_ms = self._spot, self._spot.clock() - head.taken_ms
        if (head.group, head.changelog) != (spot.group, spot.changelog):
            owner = f"{head.group} beside {head.topic}[{head.partition}]"
            raise SnapshotRefusedError("foreign", f"it is of {owner}")
        if not -self._policy.interval_ms <= age_ms <= self._policy.age_max_ms:
            limit = f"{self._policy.age_max_ms} ms are allowed"
            raise SnapshotRefusedError("stale", f"it is {age_ms} ms old, {limit}")
        if head.covered > reader.end:
            detail = f"it covers {head.covered}, the changelog ends at {reader.end}"
            raise SnapshotRefusedError("ahead", detail)
        if head.covered < reader.beginning:
            detail = f"it covers {head.covered}, the changelog begins at {reader.beginning}"
            raise SnapshotRefusedError("behind", detail)

    async def _check_file(self, file: SnapshotFile) -> int:
        found: list[int] = []
        await self._offload(lambda: found.append(file.check()))
        return found[0]


async def _read_behind(head: Head, reader: PartitionReader) -> list[Record]:
    """Find the anchor where it was; return what was read behind what is covered.

    Raises:
        SnapshotRefusedError: the anchor is not there, or is another record.
    """
    anchor = head.anchor
    if anchor.offset < reader.beginning:
        raise SnapshotRefusedError("unverified", f"offset {anchor.offset} was deleted")
    reader.seek(anchor.offset)
    read: list[Record] = []
    while not read and reader.position < reader.end:
        read += await reader.read(_READ_RECORDS)
    if not read or _anchor_of(read[0]) != anchor:
        raise SnapshotRefusedError(
            "unverified", f"the record at {anchor.offset} is gone, or another one"
        )
    return [record for record in read if record.offset >= head.covered]


def _anchor_of(record: Record) -> Anchor:
    digest = hashlib.blake2b(record.key or b"", digest_size=16)
    digest.update(b"\0" if record.value is None else b"\1" + record.value)
    return Anchor(record.offset, record.timestamp_ms, digest.hexdigest())


def _blocks(records: Iterable[Change]) -> Iterator[list[Change]]:
    rest = iter(records)
    while block := list(islice(rest, _BLOCK_RECORDS)):
        yield block


def _private(path: Path) -> BinaryIO:
    """Open a new file that nobody else may read: state holds what events held."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "wb")


def _put(temporary: Path, path: Path) -> None:
    """Rename, and make the name last."""
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
