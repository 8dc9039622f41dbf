"""The lane: one partition number of a stage, processed exactly once.

A lane owns its producer and its state; nothing else may touch either. Its life under one ownership:

    take over   confirm with the group -> InitProducerId (fences and aborts the former owner)
                -> read the committed offsets -> restore the state they belong to -> seek -> resume
    work        fetch -> decode -> the Faust agent -> commit, a few batches under way at once
    trouble     theirs: dead letter in the same transaction; later: retry, split, dead letter;
                ours: stop, nothing acknowledged

An eager rebalance ends the ownership but not the lane: a lane that stays keeps producer and state.
"""

import asyncio
from dataclasses import replace
from typing import Final, Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from batuta.agents.state.parking import ParkingLot
from batuta.agents.state.port import State
from batuta.schemas.errors import LaterError, OursError, OwnershipLostError, RefusedEventError
from batuta.streams.lanes.calls import Calls
from batuta.streams.lanes.closing import Closing
from batuta.streams.lanes.commits import Commits
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.flights import AnyBatch, Flight, Flights, Part, Refusal
from batuta.streams.lanes.lane_facts import RecordsDeletedUnread, StepsParked
from batuta.streams.lanes.lane_time import LaneTime
from batuta.streams.lanes.log import Offsets, TransactionFailedError
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.opening import Opening
from batuta.streams.lanes.ownership import Fetched, Ownership
from batuta.streams.lanes.received import Received
from batuta.streams.lanes.recovery import Recovery
from batuta.streams.lanes.retries import (
    BuryOutputsIt,
    DeadLetterIt,
    RetryIt,
    SplitIt,
    next_step,
    restart_backoff_ms,
)
from batuta.streams.lanes.stage import AnyStage, KeepsCases
from batuta.streams.lanes.taking import Taking
from batuta.streams.lanes.world import LaneWorld
from batuta.streams.telemetry.review_facts import CasesWait

__all__ = ["Lane"]

LaneStatus = Literal["starting", "restoring", "ready", "retrying", "failed", "closed"]
_CALL_WAIT_MS: Final = 5
_BEGIN_AGAIN: Final = (OwnershipLostError, TransactionFailedError)


class Lane:
    """One partition number of a stage."""

    def __init__(self, stage: AnyStage, partition: int, world: LaneWorld) -> None:
        self._stage = stage
        self._world = world
        self.partition = partition
        self.tps = tuple(TopicPartition(topic, partition) for topic in stage.inputs)
        self._commits = Commits(
            world.log, stage.group, partition, world.partition_of, world.telemetry
        )
        if stage.changelog is not None:
            self._commits.counter = TopicPartition(stage.changelog, partition)
        self._flights = Flights()
        self._recovery = Recovery(stage, partition, world, self._commits, self._flights)
        self._time = LaneTime(stage, partition, world)
        self._closing = Closing(stage, partition, world, self._recovery, self._time)
        self._calls = Calls(world.settings.soft_deadline_ms)
        self._revived = False
        self._served: Ownership | None = None
        self._received = Received()
        self._taking = Taking(stage, partition, world.settings.batch_records_max)
        self._opening = Opening(partition, world.partition_of[stage.inputs[0]], self._taking)
        self.ready = False

    @property
    def memory(self) -> LaneMemory | None:
        """What it remembers; None before it was taken over."""
        return self._recovery.memory

    @property
    def _memory(self) -> LaneMemory:
        assert self._recovery.memory is not None, "the lane was not taken over"
        return self._recovery.memory

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
        await self._closing.settle()

    async def close(self, status: Literal["closed", "failed"] = "closed") -> None:
        """Let go of producer and state."""
        self._show(status)
        self._recovery.memory = None
        self._calls.forget()
        await self._commits.discard()

    def _show(self, status: LaneStatus) -> None:
        self.ready = status == "ready"
        self._world.telemetry.lane_state(self.partition, status)

    async def _take_over(self, ownership: Ownership) -> None:
        self._show("starting")
        await self._recovery.reclaim()
        committed = await self._commits.take_over(ownership, self.tps)
        ours = self._served is ownership
        if (happened := self._recovery.end_unsettled(committed, ours=ours)) is not None:
            self._tell(happened)
        if self._recovery.restores(committed):
            if self._stage.changelog is not None:
                self._show("restoring")
            await self._recovery.restore(committed)
            self._measure(self._memory.state, self._memory.parked)
        inputs = {tp: committed[tp] for tp in self.tps}
        for tp, records in (await ownership.begin_at(inputs)).items():
            self._world.telemetry.tell(RecordsDeletedUnread(tp.topic, tp.partition, records))
        self._calls.forget()
        self._revived, self._served = False, ownership
        self._show("ready")

    # Work

    async def _work(self, ownership: Ownership) -> None:
        settings = self._world.settings
        while ownership.working:
            await self._make_room(ownership, settings.batches_in_flight_max - 1)
            part = self._part(await self._taking.read(self._memory, ownership, self._wait_ms()))
            if part.empty:
                await self._rest(part.ends, ownership)
            else:
                await self._begin(part, ownership)
            position = {tp: self._commits.position[tp] for tp in self.tps}
            self._world.telemetry.lag(self.partition, ownership.lag(position))
            if self._recovery.snapshot_is_due:
                await self._make_room(ownership, 0)
                await self._recovery.save_snapshot()
        await self._make_room(ownership, 0)
        if ownership.held:
            await self._recovery.save_snapshot(due_only=False)

    def _part(self, fetched: Fetched) -> Part:
        """Return what there is to do: records, answers, timers, watermarks."""
        now_ms = self._world.clock()
        fetched, watermarks = self._time.strip(fetched, now_ms)
        self._world.telemetry.received(self._received.count(fetched))
        return Part(
            records=fetched.records,
            ends=fetched.positions,
            timers=self._memory.is_due(now_ms),
            answered=self._calls.take(),
            watermarks=watermarks,
            revived=self._revives(),
        )

    def _revives(self) -> bool:
        """Say once after a take-over whether steps are parked whose questions nobody remembers."""
        revives, self._revived = not self._revived and self._memory.parked.entries() > 0, True
        return revives

    def _wait_ms(self) -> int:
        """Return how long to wait for records: not beyond what else there is to do."""
        patience_ms = self._world.settings.poll_timeout_ms
        makes_room = len(self._flights) > 0 and self._memory.room <= 0
        if self._calls.outstanding or self._calls.arrived or makes_room:
            patience_ms = min(patience_ms, _CALL_WAIT_MS)
        due_ms = self._memory.next_due_ms()
        if due_ms is not None:
            # Never nothing: a fetch that waits for nothing lets nobody else run.
            patience_ms = min(patience_ms, max(due_ms - self._world.clock(), 1))
        return patience_ms

    async def _make_room(self, ownership: Ownership, flights_max: int) -> None:
        """Wait until at most so many batches are under way; see trouble through."""
        while (flight := self._flights.oldest) is not None:
            if len(self._flights) <= flights_max and not flight.batch.ended:
                return
            # Cancelled here, the batches stay: `_reclaim_state` decides about the state.
            await flight.batch.wait_ended()
            if flight.batch.error is not None:
                await self._see_through(flight.batch.error, ownership)
            else:
                self._flights.drop(flight)

    async def _rest(self, positions: Offsets, ownership: Ownership) -> None:
        """Where no records are, commit past what is none."""
        await self._make_room(ownership, 0)
        told = self._time.rest(self._memory.watermark_ms, self._world.clock())
        if told is not None or not positions.items() <= self._commits.position.items():
            await self._commits.ensure(ownership)
            await self._closing.advance(positions, told, ownership)

    async def _see_through(self, error: BaseException, ownership: Ownership) -> None:
        """See every batch under way through, one after the other, after the oldest failed."""
        await self._flights.wait_ended()
        parts = self._give_up()
        attempt = await self._after_trouble(self._known(error, ownership), 1, parts, ownership)
        while parts:
            await self._commits.ensure(ownership)
            try:
                await self._attempt(parts, ownership)
            except LaterError as trouble:
                attempt = await self._after_trouble(trouble, attempt, parts, ownership)
            else:
                parts.pop()
                attempt = 1

    async def _after_trouble(
        self, error: LaterError, attempt: int, parts: list[Part], ownership: Ownership
    ) -> int:
        """Carry out what the retry rule says and return the number of the next attempt.

        Raises:
            LaterError: the lane has to begin again.
        """
        if isinstance(error, _BEGIN_AGAIN):
            raise error
        part = parts[-1]
        self._world.telemetry.retried(type(error).__name__)
        step = next_step(error, attempt, part, self._world.settings)
        if isinstance(step, BuryOutputsIt):
            if (rest := await self._closing.give_outputs_up(part, step)) is not None:
                parts[-1] = rest
                return 1
            step = RetryIt(restart_backoff_ms(attempt - 1, self._world.settings))
        match step:
            case RetryIt(backoff_ms=backoff_ms):
                reach("lane.backoff")
                await asyncio.sleep(backoff_ms / 1000)
                return attempt + 1
            case SplitIt():
                first, second = part.halves()
                parts[-1:] = [second, first]
            case DeadLetterIt(reason=reason):
                refusal = Refusal(RefusedEventError(reason, str(error)), attempt)
                await self._bury(replace(part, refusal=refusal), ownership)
                parts.pop()
        return 1

    async def _bury(self, part: Part, ownership: Ownership) -> None:
        """Dead-letter the one record of a part that no attempt could see through; ask nobody.

        Raises:
            OursError: the dead letter was refused.
            LaterError: the lane has to begin again.
        """
        await self._commits.ensure(ownership)
        flight = self._flight(part, ownership)
        self._flights.add(flight)
        try:
            await flight.commit()
        except BaseException as error:
            flight.batch.end(error)
            if not isinstance(error, LaterError) or isinstance(error, _BEGIN_AGAIN):
                raise
            ((topic, partition, offset, *_),) = flight.batch.records
            raise OursError(
                f"{self._stage.deadletters} takes no dead letter of {topic}[{partition}]@{offset}:"
                f" {error}"
            ) from error
        flight.batch.end(None)
        self._flights.drop(flight)

    async def _attempt(self, parts: list[Part], ownership: Ownership) -> None:
        """See the last part through by itself; raise what went wrong, the part named."""
        flight = await self._begin(parts[-1], ownership)
        await flight.batch.wait_ended()
        if flight.batch.error is None:
            self._flights.drop(flight)
            return
        parts[-1:] = self._give_up()
        raise self._known(flight.batch.error, ownership)

    def _give_up(self) -> list[Part]:
        """Forget what the batches under way did; return what they carried, oldest last.

        What the oldest let go of records that were held is named in it; the others let go what is
        due by then.
        """
        flights = self._flights.take()
        if self._commits.unsettled is None:
            self._memory.rollback()
        for flight in flights:
            flight.give_up()
        return [*(flight.part for flight in flights[:0:-1]), *map(self._taking.named, flights[:1])]

    def _known(self, error: BaseException, ownership: Ownership) -> LaterError:
        """Return trouble of the outside world; raise any other.

        Raises:
            Exception: what stops the lane, or makes it begin again.
        """
        if not ownership.held:
            raise OwnershipLostError("the assignment ended with the batch under way") from error
        if isinstance(error, LaterError):
            return error
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise error
        raise OursError(f"the agent raised {type(error).__name__}") from error

    async def _begin(self, part: Part, ownership: Ownership) -> Flight:
        """Give the agent one batch, once the batch before has understood its own."""
        if (before := self._flights.newest) is not None:
            await before.wait_understood()
            if before.failed:
                await self._make_room(ownership, 0)
        await self._commits.ensure(ownership)
        if not ownership.held:
            raise OwnershipLostError("the assignment ended")
        flight = self._flight(part, ownership)
        self._flights.add(flight)
        try:
            reach("lane.send")
            await self._world.channel.send(value=flight.batch)
        except BaseException:
            flight.batch.end(OwnershipLostError("the agent never got the batch"))
            raise
        return flight

    def _flight(self, part: Part, ownership: Ownership) -> Flight:
        """Open a batch on the state."""
        memory, now_ms = self._memory, self._world.clock()

        async def commit(flight: Flight) -> None:
            await self._closing.commit(flight, ownership)
            self._tell(flight.batch)
            duration_s = asyncio.get_running_loop().time() - flight.started_s
            self._world.telemetry.batch(len(flight.batch.records), duration_s)

        flight = Flight(
            part=part,
            before=self._flights.newest,
            calls=self._calls,
            memory=memory,
            now_ms=now_ms,
            commit_it=commit,
            started_s=asyncio.get_running_loop().time(),
        )
        self._opening.open(flight)
        return flight

    def _tell(self, batch: AnyBatch) -> None:
        """Count what a committed batch did."""
        telemetry = self._world.telemetry
        self._measure(batch.context.state, batch.context.parked)
        for refused in batch.refused:
            telemetry.dead_lettered(refused.error.reason, 1)
        batch.tell()
        for question, ask in batch.questions:
            self._calls.start(question, ask())

    def _measure(self, state: State, parked: ParkingLot) -> None:
        """Show what the lane holds."""
        telemetry = self._world.telemetry
        telemetry.state_entries(self.partition, state.entries())
        if self._stage.parked_max:
            telemetry.tell(StepsParked(self.partition, parked.counts(), parked.steps_max))
        if isinstance(state, KeepsCases):
            telemetry.tell(CasesWait(self.partition, state.open_cases()))

    # Trouble

    async def _restart_after(self, error: Exception, restarts: int) -> None:
        self._show("retrying")
        self._world.telemetry.lane_restarted(self.partition, error)
        await self._commits.discard()
        reach("lane.restart")
        await asyncio.sleep(restart_backoff_ms(restarts, self._world.settings) / 1000)
