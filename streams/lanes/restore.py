"""Restore: a lane's state before its first batch: a snapshot where there is one, and the changelog.

Without a snapshot that is certainly right the changelog is read from its beginning. What a table
cannot read of a snapshot costs time alone; what it cannot read of the changelog ends the lane.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aiokafka import TopicPartition

from batuta.agents.state.port import Restorable, load_many, settle
from batuta.schemas.errors import SnapshotRefusedError, StateCorruptError
from batuta.schemas.record import Record
from batuta.streams.lanes.log import Log, PartitionReader
from batuta.streams.lanes.slices import Slices
from batuta.streams.lanes.snapshots import Candidate, Snapshots

__all__ = ["Restored", "restore"]

_RECORDS_MAX: Final = 5_000
#: How many records are loaded between two looks at the time, and how long that should take.
_AT_ONCE_MIN: Final = 8
_AT_ONCE_MAX: Final = 2_000
_PART_S: Final = 0.005

StateT = TypeVar("StateT", bound=Restorable)


@dataclass(frozen=True, slots=True)
class Restored(Generic[StateT]):
    """A state as old as its changelog.

    Attributes:
        state: all of it.
        covered: the changelog's offset below which it holds everything.
        records: how many changelog records were applied.
        from_snapshot: whether they came on top of a snapshot.
    """

    state: StateT
    covered: int
    records: int
    from_snapshot: bool


async def restore(
    log: Log,
    changelog: TopicPartition,
    open_state: Callable[[], StateT],
    remaining: Callable[[int], None],
    snapshots: Snapshots | None = None,
) -> Restored[StateT]:
    """Return a state that holds every committed record of `changelog`.

    The lane's producer has taken its transactional id before, so nothing is in flight: the end
    read here is the end.

    Args:
        log: where the changelog is.
        changelog: the lane's partition of the stage's changelog.
        open_state: makes an empty state.
        remaining: told how many records are left, at most, every now and then.
        snapshots: the lane's, where it has a place for them.

    Raises:
        StateCorruptError: a record is of an unknown version or shape; the message says which.
        LaterError: the changelog stopped giving records before its end.
        aiokafka.errors.KafkaError: the broker failed, or records were deleted while being read.
    """
    reader = log.reader(changelog)
    try:
        await reader.start()
        restoring = _Restoring(reader, open_state, remaining)
        candidate = None if snapshots is None else await snapshots.find(reader)
        if snapshots is not None and candidate is not None:
            try:
                restored = await restoring.on_top_of(candidate)
            except (StateCorruptError, SnapshotRefusedError) as error:
                snapshots.refuse("unreadable", str(error))
            else:
                snapshots.used(candidate)
                return restored
        return await restoring.alone()
    finally:
        await reader.stop()
        remaining(0)


class _Restoring(Generic[StateT]):
    """One state on its way."""

    def __init__(
        self,
        reader: PartitionReader,
        open_state: Callable[[], StateT],
        remaining: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._open_state = open_state
        self._remaining = remaining
        self._applied = 0
        self._pace = _Pace()

    async def alone(self) -> Restored[StateT]:
        """Read the changelog from its beginning."""
        self._reader.seek(self._reader.beginning)
        return await self._finished(self._open_state(), from_snapshot=False)

    async def on_top_of(self, candidate: Candidate) -> Restored[StateT]:
        """Load a snapshot, then what was read behind it, then the rest."""
        state, slices = self._open_state(), Slices()
        left = candidate.records
        for keys, values in candidate.file.blocks():
            self._remaining(left + self._reader.end - candidate.head.covered)
            for part in self._pace.parts(keys, values):
                load_many(state, *part)
                await slices.pause()
            left -= len(keys)
        await self._apply(candidate.tail, state)
        return await self._finished(state, from_snapshot=True)

    async def _finished(self, state: StateT, *, from_snapshot: bool) -> Restored[StateT]:
        """Read on to the end."""
        reader = self._reader
        while reader.position < reader.end:
            self._remaining(reader.end - reader.position)
            await self._apply(await reader.read(_RECORDS_MAX), state)
        slices = Slices()
        for _ in settle(state):
            await slices.pause()
        return Restored(state, reader.end, self._applied, from_snapshot)

    async def _apply(self, records: Sequence[Record], state: StateT) -> None:
        slices = Slices()
        try:
            keys, values = [r.key or b"" for r in records], [r.value for r in records]
            for part in self._pace.parts(keys, values):
                load_many(state, *part)
                await slices.pause()
        except StateCorruptError as error:
            raise self._located(error, records) from error
        self._applied += len(records)

    def _located(self, error: StateCorruptError, records: Sequence[Record]) -> StateCorruptError:
        """Say which record it was; one by one they show, into a state made for this."""
        state = self._open_state()
        for record in records:
            try:
                state.load(record.key or b"", record.value)
            except StateCorruptError as found:
                where = f"{record.topic}[{record.partition}]@{record.offset}"
                return StateCorruptError(f"{where}: {found}")
        return error


class _Pace:
    """How many records are loaded at once: as many as take a part of a slice of the loop's time.

    Tables load many at a time, some thousand in a moment, others one by one and slowly; between
    two parts the loop goes on, for a group waits for heartbeats.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._records = _AT_ONCE_MIN

    def parts(
        self, keys: Sequence[bytes], values: Sequence[bytes | None]
    ) -> Iterable[tuple[Sequence[bytes], Sequence[bytes | None]]]:
        """Cut records into parts, each to be loaded before the next one is asked for."""
        begin = 0
        while begin < len(keys):
            end = begin + self._records
            started_s = self._loop.time()
            yield keys[begin:end], values[begin:end]
            self._adapt(self._loop.time() - started_s)
            begin = end

    def _adapt(self, took_s: float) -> None:
        if took_s < _PART_S / 2:
            self._records = min(2 * self._records, _AT_ONCE_MAX)
        elif took_s > _PART_S:
            self._records = max(self._records // 2, 1)
