"""The lane: one partition number of a stage, processed exactly once.

A lane owns its producer and its state; nothing else may touch either. Its life under one ownership:

    take over   confirm with the group -> InitProducerId (fences and aborts the former owner)
                -> read the committed offsets -> restore the state they belong to -> seek -> resume
    work        fetch -> decode -> the Faust agent -> commit, batch after batch
    trouble     theirs: dead letter in the same transaction; later: retry, split, dead letter;
                ours: stop, nothing acknowledged

An eager rebalance ends the ownership but not the lane: a lane that stays keeps producer and state.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import ChannelT

from batuta.agents.context import Context
from batuta.agents.state.port import State
from batuta.schemas.codec import Refused, encode_dead_letter
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import LaterError, OursError, OwnershipLostError, RefusedEventError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, Record
from batuta.streams.lanes.batch import Batch
from batuta.streams.lanes.commits import Commits
from batuta.streams.lanes.lane_facts import RecordsDeletedUnread
from batuta.streams.lanes.ownership import Fetched, Offsets, Ownership
from batuta.streams.lanes.producer import TransactionFailedError
from batuta.streams.lanes.restore import restore
from batuta.streams.lanes.retries import (
    DeadLetterIt,
    RetryIt,
    SplitIt,
    next_step,
    restart_backoff_ms,
)
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.settings import Settings
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["Lane", "LaneWorld"]

LaneStatus = Literal["starting", "restoring", "ready", "retrying", "failed", "closed"]
#: How long a new ownership waits for the agent to let go of a batch of the last one, before the
#: state that it may still write to is given up and restored.
_RECLAIM_S: Final = 0.5


@dataclass(frozen=True)
class LaneWorld:
    """What all lanes of a stage share.

    Attributes:
        channel: the Faust channel the agent iterates.
        partition_of: topic name to the partition a key belongs to.
        clock: milliseconds since 1970 UTC.
    """

    settings: Settings
    channel: ChannelT[object]
    telemetry: StageTelemetry
    partition_of: Mapping[str, PartitionOf]
    clock: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Records to be seen through in one transaction, and the offsets behind them."""

    records: Sequence[Record]
    ends: Offsets

    def halves(self) -> "tuple[_Part, _Part]":
        """Return the first half and the second, which ends where the whole did."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        ends = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in first}
        return _Part(first, ends), _Part(second, self.ends)


class Lane:
    """One partition number of a stage."""

    def __init__(self, stage: AnyStage, partition: int, world: LaneWorld) -> None:
        self._stage = stage
        self._world = world
        self.partition = partition
        self.tps = tuple(TopicPartition(topic, partition) for topic in stage.inputs)
        self._commits = Commits(
            world.settings, stage.group, partition, world.partition_of, world.telemetry
        )
        self._committing = asyncio.Lock()
        self._state: State | None = None
        #: The batch that the agent has, and whether the state holds its changes open.
        self._busy: Batch[object, State] | None = None
        self._open = False
        self._received: Offsets = {}
        self.ready = False

    # Ownership

    async def serve(self, ownership: Ownership) -> None:
        """Take over and work until the ownership ends.

        Raises:
            Exception: trouble of our own; nothing of the batch was acknowledged.
        """
        restarts = 0
        while ownership.working:
            before = self._commits.count
            try:
                await self._take_over(ownership)
                await self._work(ownership)
            except OwnershipLostError:
                return
            except (LaterError, KafkaError, OSError) as error:
                restarts = 0 if self._commits.count > before else restarts + 1
                await self._restart_after(error, restarts)

    async def settle(self) -> None:
        """Wait for a commit that is running; what has not begun to commit is abandoned."""
        async with self._committing:
            pass

    async def close(self, status: Literal["closed", "failed"] = "closed") -> None:
        """Let go of producer and state."""
        self._show(status)
        self._state = None
        await self._commits.discard()

    def _show(self, status: LaneStatus) -> None:
        self.ready = status == "ready"
        self._world.telemetry.lane_state(self.partition, status)

    async def _take_over(self, ownership: Ownership) -> None:
        self._show("starting")
        await self._reclaim_state()
        committed = await self._commits.take_over(ownership, self.tps)
        await self._recover(committed)
        for tp, records in (await ownership.begin_at(committed)).items():
            self._world.telemetry.tell(RecordsDeletedUnread(tp.topic, tp.partition, records))
        self._show("ready")

    async def _reclaim_state(self) -> None:
        """Take the state back from a batch that was abandoned, or give it up with that batch."""
        batch = self._busy
        if batch is None:
            return
        try:
            async with asyncio.timeout(_RECLAIM_S):
                await batch.wait_ended()
        except TimeoutError:
            self._busy, self._state, self._open = None, None, False
        else:
            self._let_go(batch)

    def _let_go(self, batch: Batch[object, State]) -> None:
        """Undo a batch that ended without a commit, unless its commit may have happened."""
        self._busy = None
        unsettled = self._commits.unsettled
        if self._open and (unsettled is None or unsettled.batch is not batch):
            assert self._state is not None
            self._state.rollback()
            self._open = False

    async def _recover(self, committed: Offsets) -> None:
        """Make the state exactly as old as the committed offsets."""
        self._end_unsettled(committed)
        if self._state is None or self._commits.position != committed:
            self._state, self._open = await self._restored(), False
            self._commits.position = dict(committed)

    def _end_unsettled(self, committed: Offsets) -> None:
        """End the transaction whose end nobody saw, as the offsets say that it ended."""
        if (unsettled := self._commits.unsettled) is None:
            return
        self._commits.unsettled = None
        happened = committed == unsettled.offsets
        if happened:
            self._commits.position = unsettled.offsets
        if unsettled.batch is not None and happened:
            self._tell(unsettled.batch)
        if self._open and self._state is not None:
            (self._state.commit if happened else self._state.rollback)()
        self._open = False

    async def _restored(self) -> State:
        state = self._stage.open_state()
        if self._stage.changelog is not None:
            telemetry = self._world.telemetry
            self._show("restoring")
            changelog = TopicPartition(self._stage.changelog, self.partition)
            await restore(
                self._world.settings,
                changelog,
                state,
                partial(telemetry.restore_remaining, self.partition),
            )
        return state

    # Work

    async def _work(self, ownership: Ownership) -> None:
        records_max = self._world.settings.batch_records_max
        while ownership.working:
            fetched = await ownership.fetch(self.tps, records_max)
            if fetched.by_input:
                self._count_received(fetched)
                await self._process(_Part(fetched.records, fetched.positions), ownership)
            elif fetched.positions != self._commits.position:
                await self._advance(fetched.positions, ownership)
            self._world.telemetry.lag(self.partition, ownership.lag(self._commits.position))

    def _count_received(self, fetched: Fetched) -> None:
        """Count records read for the first time; after trouble they are read again."""
        count = 0
        for tp, records in fetched.by_input.items():
            known = self._received.get(tp, 0)
            fresh = records[0].offset >= known
            count += len(records) if fresh else sum(r.offset >= known for r in records)
            self._received[tp] = max(known, fetched.positions[tp])
        self._world.telemetry.received(count)

    async def _process(self, whole: _Part, ownership: Ownership) -> None:
        """See the records through: whole, or in halves around the event that gives trouble."""
        parts = [whole]
        attempt = 1
        while parts:
            await self._commits.ensure(ownership)
            try:
                await self._attempt(parts[-1], ownership)
            except (OwnershipLostError, TransactionFailedError):
                raise
            except LaterError as error:
                attempt = await self._after_trouble(error, attempt, parts, ownership)
            else:
                parts.pop()
                attempt = 1

    async def _after_trouble(
        self, error: LaterError, attempt: int, parts: list[_Part], ownership: Ownership
    ) -> int:
        """Carry out what the retry rule says and return the number of the next attempt."""
        part = parts[-1]
        step = next_step(error, attempt, len(part.records), self._world.settings)
        self._world.telemetry.retried(type(error).__name__)
        match step:
            case RetryIt(backoff_ms=backoff_ms):
                await asyncio.sleep(backoff_ms / 1000)
                return attempt + 1
            case SplitIt():
                first, second = part.halves()
                parts[-1:] = [second, first]
            case DeadLetterIt(reason=reason):
                refused = RefusedEventError(reason, str(error))
                await self._commits.ensure(ownership)
                await self._bury(part, refused, attempt, ownership)
                parts.pop()
        return 1

    async def _attempt(self, part: _Part, ownership: Ownership) -> None:
        """Run one batch through the agent and its commit; raise what went wrong."""
        started = time.perf_counter()
        batch = self._batch(part, ownership)
        batch.context.state.begin()
        self._busy, self._open = batch, True
        try:
            await self._world.channel.send(value=batch)
        except BaseException:
            batch.end(OwnershipLostError("the agent never got the batch"))
            raise
        # Cancelled here, the batch stays busy: `_reclaim_state` decides about its state.
        await batch.wait_ended()
        self._let_go(batch)
        if batch.error is not None:
            self._raise(batch.error, ownership)
        self._world.telemetry.batch(len(part.records), time.perf_counter() - started)

    def _raise(self, error: BaseException, ownership: Ownership) -> None:
        if not ownership.held:
            raise OwnershipLostError("the assignment ended with the batch under way") from error
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise error
        raise OursError(f"the agent raised {type(error).__name__}") from error

    def _batch(self, part: _Part, ownership: Ownership) -> Batch[object, State]:
        if not ownership.held:
            raise OwnershipLostError("the assignment ended")
        assert self._state is not None
        now_ms = self._world.clock()
        intake = self._stage.decode(part.records, now_ms)
        partition_of = self._world.partition_of[self._stage.inputs[0]]
        context = Context(now_ms, self.partition, partition_of, self._state)

        async def commit(batch: Batch[object, State]) -> None:
            await self._commit(batch, part.ends, ownership)

        return Batch(part.records, intake.items, intake.refused, context, commit)

    # Commits

    async def _commit(
        self, batch: Batch[object, State], ends: Offsets, ownership: Ownership
    ) -> None:
        """Commit one batch; called by the agent as it leaves the batch."""
        async with self._committing:
            if not ownership.held or batch is not self._busy:
                raise OwnershipLostError("the lane was revoked before its commit began")
            state = batch.context.state
            outputs = [*batch.outputs, *self._dead_letters(batch), *self._changes(state)]
            await self._commits.transact(outputs, ends, batch)
            state.commit()
            self._open = False
        self._tell(batch)

    async def _advance(self, positions: Offsets, ownership: Ownership) -> None:
        """Commit past what is no record: transaction markers, and what was aborted."""
        await self._commits.ensure(ownership)
        async with self._committing:
            if not ownership.held:
                raise OwnershipLostError("the lane was revoked before its commit began")
            await self._commits.transact([], positions, None)

    async def _bury(
        self, part: _Part, error: RefusedEventError, attempts: int, ownership: Ownership
    ) -> None:
        """Dead-letter one record that no attempt could see through."""
        (record,) = part.records
        async with self._committing:
            if not ownership.held:
                raise OwnershipLostError("the lane was revoked before its commit began")
            try:
                await self._commits.transact(
                    [self._letter(record, error, attempts)], part.ends, None
                )
            except TransactionFailedError:
                raise
            except LaterError as refusal:
                raise OursError(
                    f"{self._stage.deadletters} takes no dead letter of {record.topic}"
                    f"[{record.partition}]@{record.offset}: {refusal}"
                ) from refusal
        self._world.telemetry.dead_lettered(error.reason, 1)

    def _tell(self, batch: Batch[object, State]) -> None:
        """Count what a committed batch did."""
        self._world.telemetry.state_entries(self.partition, batch.context.state.entries())
        for refused in batch.refused:
            self._world.telemetry.dead_lettered(refused.error.reason, 1)
        batch.tell()

    # Parts of a transaction

    def _dead_letters(self, batch: Batch[object, State]) -> list[Output]:
        return [
            self._letter(batch.records[refused.position], refused.error, 1)
            for refused in sorted(batch.refused, key=_position)
        ]

    def _letter(self, record: Record, error: RefusedEventError, attempts: int) -> Output:
        letter = DeadLetter(
            record=record,
            stage=self._stage.name,
            reason=error.reason,
            detail=error.detail,
            path=error.path,
            refused_at_ms=self._world.clock(),
            attempts=attempts,
        )
        return encode_dead_letter(letter, self._stage.deadletters)

    def _changes(self, state: State) -> list[Output]:
        topic = self._stage.changelog
        if topic is None:
            return []
        now_ms = self._world.clock()
        return [
            Output(topic, key, value, (), self.partition) for key, value in state.changes(now_ms)
        ]

    # Trouble

    async def _restart_after(self, error: Exception, restarts: int) -> None:
        self._show("retrying")
        self._world.telemetry.lane_restarted(self.partition, error)
        await self._commits.discard()
        await asyncio.sleep(restart_backoff_ms(restarts, self._world.settings) / 1000)


def _position(refused: Refused) -> int:
    return refused.position
