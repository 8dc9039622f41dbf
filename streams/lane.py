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
from typing import Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import ChannelT

from batuta.agents.context import Context
from batuta.agents.state import State
from batuta.schemas.codec import Refused, encode_dead_letter
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import LaterError, OwnershipLostError, RefusedEventError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, Record
from batuta.streams.batch import Batch, group_rows
from batuta.streams.ownership import Ownership
from batuta.streams.producer import LaneProducer, TransactionFailedError
from batuta.streams.restore import restore
from batuta.streams.retries import DeadLetterIt, RetryIt, SplitIt, next_step
from batuta.streams.settings import Settings
from batuta.streams.stage import AnyStage
from batuta.streams.telemetry import StageTelemetry

__all__ = ["Lane", "LaneWorld"]

LaneStatus = Literal["starting", "restoring", "ready", "retrying", "closed"]


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


class Lane:
    """One partition number of a stage."""

    def __init__(self, stage: AnyStage, partition: int, world: LaneWorld) -> None:
        self._stage = stage
        self._world = world
        self.partition = partition
        self.tps = tuple(TopicPartition(topic, partition) for topic in stage.inputs)
        self._state: State | None = None
        self._producer: LaneProducer | None = None
        self._position: dict[TopicPartition, int] = {}
        self._unsettled: dict[TopicPartition, int] | None = None
        self._commits = 0
        self._committing = asyncio.Lock()
        self._busy: Batch[object, State] | None = None
        self.ready = False

    # Ownership

    async def serve(self, ownership: Ownership) -> None:
        """Take over and work until the ownership ends.

        Raises:
            Exception: trouble of our own; nothing of the batch was acknowledged.
        """
        restarts = 0
        while ownership.working:
            before = self._commits
            try:
                await self._take_over(ownership)
                await self._work(ownership)
            except OwnershipLostError:
                return
            except (LaterError, KafkaError) as error:
                restarts = 0 if self._commits > before else restarts + 1
                await self._restart_after(error, restarts)

    async def settle(self) -> None:
        """Wait for a commit that is running, and briefly for a batch that is being thought about.

        What is not done by then is abandoned: its state is dropped and will be restored.
        """
        async with self._committing:
            pass
        if (batch := self._busy) is not None:
            await asyncio.wait([batch.done], timeout=0.5)
            if not batch.done.done():
                self._state = None
                batch.done.cancel()
            self._busy = None

    async def close(self) -> None:
        """Let go of producer and state."""
        await self._discard_producer()
        self._state = None
        self._show("closed")

    def _show(self, status: LaneStatus) -> None:
        self.ready = status == "ready"
        self._world.telemetry.lane_state(self.partition, status)

    async def _take_over(self, ownership: Ownership) -> None:
        self._show("starting")
        await self._ensure_producer(ownership)
        committed = await ownership.committed(self.tps)
        await self._recover(committed)
        ownership.begin_at(committed)
        self._show("ready")

    async def _ensure_producer(self, ownership: Ownership) -> None:
        """Start a producer where there is none; it fences whoever had this lane before."""
        if self._producer is None:
            await ownership.confirm()
            transactional_id = f"{self._stage.group}-{self.partition}"
            producer = LaneProducer(self._world.settings, transactional_id)
            await producer.start()
            self._producer = producer

    async def _recover(self, committed: Mapping[TopicPartition, int]) -> None:
        """Make the state exactly as old as the committed offsets."""
        state = self._state
        if state is not None and self._unsettled is not None:
            # The transaction whose end nobody saw: the offsets say how it ended.
            ended = {**self._position, **self._unsettled}
            if committed == ended:
                state.commit()
                self._position = ended
            else:
                state.rollback()
        self._unsettled = None
        if state is None or self._position != committed:
            self._state = await self._restored()
            self._position = dict(committed)

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
            records = await ownership.fetch(self.tps, records_max)
            if records:
                await self._process(records, ownership)
            self._world.telemetry.lag(self.partition, ownership.lag(self._position))

    async def _process(self, records: Sequence[Record], ownership: Ownership) -> None:
        """See the records through: whole, or in halves around the event that gives trouble."""
        parts = [records]
        attempt = 1
        while parts:
            part = parts[-1]
            await self._ensure_producer(ownership)
            try:
                await self._attempt(part, ownership)
            except OwnershipLostError:
                raise
            except TransactionFailedError:
                raise
            except LaterError as error:
                attempt = await self._after_trouble(error, attempt, parts, ownership)
            else:
                parts.pop()
                attempt = 1

    async def _after_trouble(
        self,
        error: LaterError,
        attempt: int,
        parts: list[Sequence[Record]],
        ownership: Ownership,
    ) -> int:
        """Carry out what the retry rule says and return the number of the next attempt."""
        part = parts[-1]
        step = next_step(error, attempt, len(part), self._world.settings)
        self._world.telemetry.retried(type(error).__name__)
        match step:
            case RetryIt(backoff_ms=backoff_ms):
                await asyncio.sleep(backoff_ms / 1000)
                return attempt + 1
            case SplitIt():
                middle = len(part) // 2
                parts[-1:] = [part[middle:], part[:middle]]
            case DeadLetterIt(reason=reason):
                refused = RefusedEventError(reason, str(error))
                await self._ensure_producer(ownership)
                await self._bury(part, refused, attempt, ownership)
                parts.pop()
        return 1

    async def _attempt(self, records: Sequence[Record], ownership: Ownership) -> None:
        """Run one batch through the agent and its commit; raise what went wrong."""
        state, world = self._state, self._world
        assert state is not None
        now_ms = world.clock()
        intake = self._stage.decode(records, now_ms)
        partition_of = world.partition_of[self._stage.inputs[0]]
        context = Context(now_ms, self.partition, partition_of, state)

        async def commit(batch: Batch[object, State]) -> None:
            await self._commit(batch, ownership)

        batch = Batch(records, intake.items, intake.refused, context, commit)
        state.begin()
        self._busy = batch
        started = time.perf_counter()
        world.telemetry.received(len(records))
        await world.channel.send(value=batch)
        try:
            await batch.done
        except BaseException:
            if self._state is state and self._unsettled is None and batch.done.done():
                state.rollback()
            raise
        finally:
            if batch.done.done():
                self._busy = None
        world.telemetry.batch(len(records), time.perf_counter() - started)

    async def _commit(self, batch: Batch[object, State], ownership: Ownership) -> None:
        """Commit one batch; called by the agent as it leaves the batch."""
        async with self._committing:
            if not ownership.held or batch is not self._busy:
                raise OwnershipLostError("the lane was revoked before its commit began")
            state = batch.context.state
            outputs = [*batch.outputs, *self._dead_letters(batch), *self._changes(state)]
            await self._transact(outputs, batch.offsets())
            state.commit()
            self._world.telemetry.state_entries(self.partition, state.entries())
        for reason in (refused.error.reason for refused in batch.refused):
            self._world.telemetry.dead_lettered(reason, 1)

    async def _bury(
        self,
        records: Sequence[Record],
        error: RefusedEventError,
        attempts: int,
        ownership: Ownership,
    ) -> None:
        """Dead-letter one record that no attempt could see through."""
        assert len(records) == 1
        async with self._committing:
            if not ownership.held:
                raise OwnershipLostError("the lane was revoked before its commit began")
            letter = self._letter(records[0], error, attempts)
            record, state = records[0], self._state
            assert state is not None
            state.begin()
            tp = TopicPartition(record.topic, record.partition)
            await self._transact([letter], {tp: record.offset + 1})
            state.commit()
        self._world.telemetry.dead_lettered(error.reason, 1)

    async def _transact(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, int]
    ) -> None:
        assert self._producer is not None
        rows = group_rows(outputs, self._world.partition_of)
        started = time.perf_counter()
        try:
            await self._producer.transact(rows, offsets, self._stage.group)
        except BaseException as error:
            refused = not isinstance(error, TransactionFailedError | asyncio.CancelledError)
            self._unsettled = None if refused else dict(offsets)
            self._world.telemetry.transaction("aborted", time.perf_counter() - started, len(rows))
            if refused:
                # It was aborted in order, and yet aiokafka cannot use it again.
                await self._discard_producer()
            raise
        self._position.update(offsets)
        self._commits += 1
        self._world.telemetry.transaction("committed", time.perf_counter() - started, len(rows))

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
        await self._discard_producer()
        settings = self._world.settings
        backoff_ms = min(settings.retry_backoff_ms * 2**restarts, settings.retry_backoff_ms_max)
        await asyncio.sleep(backoff_ms / 1000)

    async def _discard_producer(self) -> None:
        if (producer := self._producer) is not None:
            self._producer = None
            await producer.discard()


def _position(refused: Refused) -> int:
    return refused.position
