"""Closing: the two ways in which a lane ends work, each in one transaction under one lock."""

import asyncio
from collections.abc import Mapping

from batuta.schemas.errors import OursError, OwnershipLostError
from batuta.schemas.record import Output
from batuta.streams.lanes.announcer import Announcement
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.flights import AnyBatch, Flight, Part
from batuta.streams.lanes.lane_time import LaneTime
from batuta.streams.lanes.log import Offsets
from batuta.streams.lanes.outbox import Outbox
from batuta.streams.lanes.oversize import OutputsBuried, TooLarge, set_apart
from batuta.streams.lanes.ownership import Ownership
from batuta.streams.lanes.recovery import Recovery
from batuta.streams.lanes.retries import BuryOutputsIt
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.lanes.world import LaneWorld

__all__ = ["Closing"]


class Closing:
    """Ends what one lane has begun: a batch, or a rest without records."""

    def __init__(
        self,
        stage: AnyStage,
        partition: int,
        world: LaneWorld,
        recovery: Recovery,
        time: LaneTime,
    ) -> None:
        self._stage = stage
        self._world = world
        self._recovery = recovery
        self._commits = recovery.commits
        self._flights = recovery.flights
        self._time = time
        self._outbox = Outbox(stage, partition, world.clock)
        self._committing = asyncio.Lock()

    async def settle(self) -> None:
        """Wait for a transaction that is running."""
        async with self._committing:
            pass

    async def commit(self, flight: Flight, ownership: Ownership) -> None:
        """Commit one batch; called by the agent as it leaves the batch.

        Raises:
            OwnershipLostError: the lane is not ours any more, or it is not the batch's turn.
            LaterError: the transaction did not commit, or nobody can say whether it did.
        """
        batch = flight.batch
        reach("lane.commit_turn")
        async with self._committing:
            if not (ownership.held and self._flights.may_commit(flight)):
                raise OwnershipLostError("the lane was revoked before its commit began")
            refusal = flight.part.refusal
            attempts = 1 if refusal is None else refusal.attempts
            letters = self._outbox.dead_letters(batch.records, batch.refused, attempts)
            changes = self._outbox.changelog(flight.changes)
            told = self._time.announce(flight.watermark_ms, self._world.clock())
            if flight.part.too_large is not None:
                letters += self._bury_outputs(batch, flight.part.too_large)
            outputs = [*batch.outputs, *letters, *changes, *(told.outputs if told else ())]
            await self._commits.transact(outputs, flight.part.ends, flight)
            memory = self._recovery.memory
            assert memory is not None, "a lane that commits has its memory"
            memory.commit(flight)
            self._time.told(told)

    async def advance(
        self, positions: Offsets, told: Announcement | None, ownership: Ownership
    ) -> None:
        """Commit past what is no record, and tell those downstream that there is none."""
        reach("lane.advance_turn")
        async with self._committing:
            if not ownership.held:
                raise OwnershipLostError("the lane was revoked before its commit began")
            await self._commits.transact(told.outputs if told else [], positions, None)
            self._time.told(told)

    def _bury_outputs(self, batch: AnyBatch, too_large: Mapping[str, TooLarge]) -> list[Output]:
        """Take the outputs that are too large out of a batch; return their dead letters."""
        batch.outputs, apart = set_apart(batch.outputs, too_large)
        if apart:
            buried, telemetry = OutputsBuried(len(apart)), self._world.telemetry
            batch.after_commit(lambda: telemetry.tell(buried))
        return [
            self._outbox.output_letter(one, self._partition_of(one), too_large[one.topic])
            for one in apart
        ]

    def _partition_of(self, output: Output) -> int:
        if output.partition is not None:
            return output.partition
        key = output.key
        return 0 if key is None else self._world.partition_of[output.topic](key)

    async def give_outputs_up(self, part: Part, step: BuryOutputsIt) -> Part | None:
        """Return a part whose outputs of such a size become dead letters.

        Returns:
            None where the topic takes such a size, so that another try may go through: its limit
            was raised meanwhile, or the broker was wrong for a moment.

        Raises:
            OursError: it is no output that is too large, but a dead letter or what the lane keeps.
            LaterError: the broker did not say what it takes.
            aiokafka.errors.KafkaError: the broker is out of reach.
        """
        topic = step.topic
        limit_bytes = await self._world.log.batch_bytes_max(topic)
        if limit_bytes is not None and limit_bytes >= step.size_bytes:
            return None
        if topic in {self._stage.deadletters, self._stage.changelog}:
            raise OursError(
                f"{topic} takes no record of {step.size_bytes:,} bytes, and it cannot be given up: "
                f"raise the topic's max.message.bytes, then start the worker again"
            )
        return part.without(topic, TooLarge(step.size_bytes, limit_bytes))
