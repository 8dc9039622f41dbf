"""Ownership: a group member's hold on its lanes, from one assignment to the next revocation.

Everything a lane asks of the group goes through it, so that work of a past assignment can neither
fetch nor commit under the present one.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError, for_code

from batuta.schemas.errors import LaterError, OursError, OwnershipLostError
from batuta.schemas.record import Record
from batuta.streams.lanes.backpressure import Backpressure
from batuta.streams.lanes.log import Member, Offsets

__all__ = ["Fetched", "Offsets", "Ownership"]

#: Illegal generation, unknown member, rebalance in progress, fenced static member.
_NOT_OURS: Final = frozenset({22, 25, 27, 82})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one fetch brought.

    Attributes:
        by_input: the records of each input partition, in order; no empty lists.
        positions: the next offset to read of each input partition, behind transaction markers and
            aborted records too: committing these leaves no lag.
    """

    by_input: Mapping[TopicPartition, Sequence[Record]]
    positions: Offsets

    def __or__(self, other: "Fetched") -> "Fetched":
        """Return what both brought, of inputs of their own."""
        return Fetched({**self.by_input, **other.by_input}, {**self.positions, **other.positions})

    @property
    def records(self) -> list[Record]:
        """Every record, one input after the other."""
        return [record for records in self.by_input.values() for record in records]


class Ownership:
    """One assignment of one member."""

    def __init__(self, member: Member, backpressure: Backpressure) -> None:
        self._member = member
        self._backpressure = backpressure
        self._revoked = False
        self._draining = False

    @property
    def held(self) -> bool:
        """Whether lanes may still work and commit."""
        return not self._revoked

    @property
    def working(self) -> bool:
        """Whether lanes should take up another batch."""
        return not self._revoked and not self._draining

    def drain(self) -> None:
        """Take up no further batch; what is begun may commit."""
        self._draining = True

    def revoke(self) -> None:
        """End it: nothing that has not begun to commit will."""
        self._revoked = True
        self._backpressure.end()

    async def confirm(self) -> None:
        """Make sure the group still counts this member as an owner, by a heartbeat of its own.

        Without it a worker that slept through its session could take the transactional id of a
        lane that has another owner by now.

        Raises:
            OwnershipLostError: the group has moved on.
            LaterError: the coordinator gave another answer than yes or no.
        """
        code = await self._member.heartbeat_error_code()
        if self._revoked or code in _NOT_OURS:
            raise OwnershipLostError("the group has moved on since this assignment")
        if code != 0:
            raise LaterError(f"the group coordinator answered {for_code(code).__name__}")

    async def committed(self, tps: Sequence[TopicPartition]) -> Offsets:
        """Return the committed offsets, the log's beginning where there is none.

        Raises:
            OwnershipLostError: the assignment ended meanwhile.
        """
        offsets: Offsets = {}
        for tp in tps:
            offset = await self._member.committed(tp)
            if offset is None:
                offset = (await self._member.beginning_offsets([tp]))[tp]
            offsets[tp] = offset
        self._check()
        return offsets

    async def counted(self, tp: TopicPartition) -> int:
        """Return the committed offset of a partition that is not read, 0 where there is none.

        Raises:
            OwnershipLostError: the assignment ended meanwhile.
        """
        offset = await self._member.committed(tp)
        self._check()
        return offset or 0

    async def begin_at(self, offsets: Offsets) -> Offsets:
        """Seek to `offsets`, or to the log's beginning where they were deleted, and let flow.

        Returns:
            How many offsets of each partition were deleted unread.

        Raises:
            OwnershipLostError: the assignment ended meanwhile.
        """
        beginnings = await self._member.beginning_offsets(list(offsets))
        self._check()
        deleted: Offsets = {}
        for tp, offset in offsets.items():
            if offset < beginnings[tp]:
                deleted[tp] = beginnings[tp] - offset
            self._member.seek(tp, max(offset, beginnings[tp]))
        self._member.resume(*offsets)
        return deleted

    def hold(self, partition: int, *, holding: bool) -> None:
        """Say whether a lane takes less than it could, for what it has waits for answers."""
        self._backpressure.hold(partition, holding=holding)

    async def fetch(self, tps: Sequence[TopicPartition], records_max: int, wait_ms: int) -> Fetched:
        """Return what there is of `tps`, at most `records_max`; wait a moment where nothing is.

        Raises:
            OwnershipLostError: the assignment ended meanwhile; what was fetched is dropped.
            OursError: the log ends before our offset.
            LaterError: our offset was deleted.
            aiokafka.errors.KafkaError: the broker failed.
        """
        self._check()
        self._backpressure.fetching(tps)
        try:
            by_input = await self._member.fetch(tps, records_max, wait_ms)
        except OffsetOutOfRangeError as error:
            raise await self._out_of_range(tps) from error
        self._check()
        self._backpressure.fetched(tps[0].partition)
        return Fetched(by_input, {tp: await self._member.position(tp) for tp in tps})

    async def rest(self, wait_ms: int) -> None:
        """Wait a moment, without a fetch.

        Raises:
            OwnershipLostError: the assignment ended meanwhile.
        """
        await asyncio.sleep(wait_ms / 1000)
        self._check()

    async def _out_of_range(self, tps: Sequence[TopicPartition]) -> LaterError | OursError:
        """Say whether offsets were deleted by retention, or the log is not the one we knew."""
        beginnings = await self._member.beginning_offsets(list(tps))
        self._check()
        for tp in tps:
            position = await self._member.position(tp)
            if position < beginnings[tp]:
                return LaterError(f"{tp.topic}[{tp.partition}] was deleted up to {beginnings[tp]}")
        return OursError(
            f"{', '.join(tp.topic for tp in tps)}: partition {tps[0].partition} ends before the"
            " offset this group has committed; the topic was made anew or lost records."
            " Reset the group's offsets to go on"
        )

    def watch(self, at_work: Iterable[int]) -> None:
        """See to the backpressure of those lanes; see `Backpressure.watch`."""
        if not self._revoked:
            self._backpressure.watch(at_work)

    def lag(self, position: Mapping[TopicPartition, int]) -> int:
        """Return how many offsets lie between `position` and the last ones known."""
        ends = {tp: self._member.highwater(tp) or 0 for tp in position}
        return sum(max(0, ends[tp] - offset) for tp, offset in position.items())

    def _check(self) -> None:
        if self._revoked:
            raise OwnershipLostError("the assignment ended")
