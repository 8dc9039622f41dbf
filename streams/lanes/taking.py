"""Taking: what a batch takes of the records that were read, live or aligned.

Live, records are taken as they come. In replay a lane would read each input as fast as it can, and
a label that came a week after its event would be learned before it, or much too late: there records
wait in the lane's state until the watermark says that nothing earlier can come on any input that is
heard. What comes on the others is taken at once. An input that is far ahead is not read meanwhile.

Nor does a lane take what it could not park: while its lot is nearly full it takes smaller batches
of the inputs that fill it, or none, and waits for answers. What comes on the other inputs, answers
of people say, is read first, for that makes room. So nothing has to make way in the lot before its
deadline because a lane reads faster than models answer; but for held records of one millisecond,
which go together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from batuta.agents.state.alignment import HeldRecord
from batuta.schemas.codec import Refused
from batuta.schemas.record import Record
from batuta.streams.lanes.flights import Flight, Part, Refusal
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.ownership import Fetched, Ownership
from batuta.streams.lanes.stage import AnyStage

__all__ = ["Reading", "Taken", "Taking"]


#: Never nothing: a fetch that waits for nothing lets nobody else run.
_MOMENT_MS: Final = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read at once.

    Attributes:
        tps: of these inputs.
        records_max: so many records at most.
    """

    tps: tuple[TopicPartition, ...]
    records_max: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch is about: its records, and what they decode to.

    Attributes:
        released: those of the records that were held back.
    """

    records: Sequence[Record]
    items: Sequence[object]
    refused: Sequence[Refused]
    released: Sequence[HeldRecord] = ()


class Taking:
    """How the lanes of a stage take records.

    Args:
        records_max: how many to take at once at most.
    """

    def __init__(self, stage: AnyStage, partition: int, records_max: int) -> None:
        self._stage = stage
        self._partition = partition
        self._records_max = records_max
        self._tps = tuple(TopicPartition(topic, partition) for topic in stage.inputs)
        time = stage.event_time
        self._time_of: Callable[..., int] | None = None if time is None else time.time_of
        self._id_of: Callable[..., str] | None = None if time is None else time.id_of
        heard = time.hears if time is not None else {}
        self._orders = {topic: n for n, topic in enumerate(stage.inputs) if topic in heard}

    async def read(self, memory: LaneMemory, ownership: Ownership, wait_ms: int) -> Fetched:
        """Return what there is to take up now; wait a moment where nothing is.

        Raises:
            OwnershipLostError: the assignment ended meanwhile; what was fetched is dropped.
            Exception: see `Ownership.fetch`.
        """
        ownership.hold(self._partition, holding=memory.room <= 0)
        fetched = Fetched({}, {})
        *others, last = self.readings(memory) or (None,)
        for one in others:
            fetched |= await ownership.fetch(one.tps, one.records_max, _MOMENT_MS)
        if last is None:
            await ownership.rest(wait_ms)
        else:
            fetched |= await ownership.fetch(last.tps, last.records_max, wait_ms)
        return fetched

    def readings(self, memory: LaneMemory) -> tuple[Reading, ...]:
        """Return what to read now, one after the other; all at once where there is room.

        Where records are held, half of the room is left to them.
        """
        tps, room = self._readable(memory), memory.room
        if self._time_of is not None:
            room = (room + 1) // 2
        if room >= self._records_max:
            return (Reading(tps, self._records_max),)
        others = tuple(tp for tp in tps if tp.topic not in self._stage.parks)
        parking = tuple(tp for tp in tps if tp.topic in self._stage.parks)
        readings = (Reading(others, self._records_max), Reading(parking, room))
        return tuple(one for one in readings if one.tps and one.records_max > 0)

    def _readable(self, memory: LaneMemory) -> tuple[TopicPartition, ...]:
        """Return the inputs to read now: not those whose records wait for the others.

        Where all are full and none may go, all are read: the table says what is wrong.
        """
        if self._time_of is None:
            return self._tps
        readable = tuple(
            tp
            for order, tp in enumerate(self._tps)
            if tp.topic not in self._orders or memory.held.room(order) >= self._records_max
        )
        return readable or self._tps

    def take(self, part: Part, now_ms: int, memory: LaneMemory) -> Taken:
        """Take what a part says, within the batch that was begun last."""
        records = part.records
        if part.refusal is not None:
            return _given_up(part, part.refusal, memory)
        intake = self._stage.decode(records, now_ms)
        if self._time_of is None:
            return Taken(records, intake.items, intake.refused)
        bad = {refused.position for refused in intake.refused}
        good = [record for position, record in enumerate(records) if position not in bad]
        if part.released is None:
            limit = min(max(memory.room - len(records), 0), self._records_max)
            released = self._release(memory, limit)
        else:
            released = memory.held.take_out(part.released)
        due = self._decoded(released, now_ms)
        at_once = self._told_apart(good, intake.items, memory, due)
        taken = [*at_once, *sorted(due, key=_turn)]
        refused = [Refused(len(taken) + n, r.error) for n, r in enumerate(intake.refused)]
        refused_records = [records[r.position] for r in intake.refused]
        whole = [*(one.record for one in taken), *refused_records]
        return Taken(whole, [one.item for one in taken], refused, released)

    def named(self, flight: Flight) -> Part:
        """Return the part of a flight, with the records that it let go: another try lets go these.

        Else nobody could split them, and a try of records that were read would let them go again.
        """
        if self._time_of is None or flight.part.released is not None:
            return flight.part
        due = self._decoded(flight.released, flight.now_ms)
        turns = sorted(zip(due, flight.released, strict=True), key=lambda one: _turn(one[0]))
        return replace(flight.part, released=tuple(held for _, held in turns))

    def _release(self, memory: LaneMemory, limit: int) -> list[HeldRecord]:
        """Let records go whose time has come, those of one time together."""
        held, before_ms = memory.held, memory.watermarks.watermark_ms
        released = held.release(before_ms, limit)
        while released and held.first_ms() == released[-1].event_time_ms:
            released += held.release(released[-1].event_time_ms + 1, self._records_max)
        return released

    def _decoded(self, released: Sequence[HeldRecord], now_ms: int) -> "list[_Due]":
        again = self._stage.decode([one.record for one in released], now_ms)
        assert not again.refused, "what was held decodes again"
        return [
            self._placed(one.record, item) for one, item in zip(released, again.items, strict=True)
        ]

    def _told_apart(
        self,
        records: Sequence[Record],
        items: Sequence[object],
        memory: LaneMemory,
        due: "list[_Due]",
    ) -> "list[_Due]":
        """Hold what must wait, add to `due` what need not, and return what is not aligned at all.

        Where records that were held before are due still, what comes now waits with them, but for
        what lies before them all: the watermark that let those go may have come behind it.
        """
        held, before_ms = memory.held, memory.watermarks.watermark_ms
        first_ms = held.first_ms()
        if first_ms is not None:
            before_ms = min(before_ms, first_ms)
        at_once: list[_Due] = []
        waiting: list[HeldRecord] = []
        for record, item in zip(records, items, strict=True):
            one = self._placed(record, item)
            if one.order < 0:
                at_once.append(one)
            elif one.time_ms < before_ms:
                due.append(one)
            else:
                waiting.append(HeldRecord(one.time_ms, one.order, record))
        held.offer(waiting)
        return at_once

    def _placed(self, record: Record, item: object) -> "_Due":
        assert self._time_of is not None, "asked in replay alone"
        order = self._orders.get(record.topic, -1)
        time_ms = self._time_of(item) if order >= 0 else 0
        name = self._id_of(item) if self._id_of is not None and order >= 0 else ""
        return _Due(time_ms, order, name, record, item)


class _Due(NamedTuple):
    """A record with its item, and its turn; `order` is below 0 where its input is not aligned."""

    time_ms: int
    order: int
    name: str
    record: Record
    item: object


def _given_up(part: Part, refusal: Refusal, memory: LaneMemory) -> Taken:
    """Take the records of a part to refuse them."""
    released = memory.held.take_out(part.released or ())
    records = [*part.records, *(held.record for held in released)]
    refused = [Refused(position, refusal.error) for position in range(len(records))]
    return Taken(records, (), refused, released)


def _turn(one: _Due) -> tuple[int, int, str, int]:
    return one.time_ms, one.order, one.name, one.record.offset
