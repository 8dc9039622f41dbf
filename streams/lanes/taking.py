"""Taking: what a batch takes of the records that were read, live or aligned.

Live, records are taken as they come. In replay a lane would read each input as fast as it can, and
a label that came a week after its event would be learned before it, or much too late: there records
wait in the lane's state until the watermark says that nothing earlier can come on any input that is
heard. What comes on the others is taken at once. An input that is far ahead is not read meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from batuta.agents.state.alignment import HeldRecord
from batuta.schemas.codec import Refused
from batuta.schemas.record import Record
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.stage import AnyStage

__all__ = ["Taken", "Taking"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch is about: its records, and what they decode to."""

    records: Sequence[Record]
    items: Sequence[object]
    refused: Sequence[Refused]


class Taking:
    """How the lanes of a stage take records.

    Args:
        records_max: how many to take at once at most.
    """

    def __init__(self, stage: AnyStage, partition: int, records_max: int) -> None:
        self._stage = stage
        self._records_max = records_max
        self._tps = tuple(TopicPartition(topic, partition) for topic in stage.inputs)
        time = stage.event_time
        self._time_of: Callable[..., int] | None = None if time is None else time.time_of
        heard = time.hears if time is not None else {}
        self._orders = {topic: n for n, topic in enumerate(stage.inputs) if topic in heard}

    def readable(self, memory: LaneMemory) -> tuple[TopicPartition, ...]:
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

    def take(self, records: Sequence[Record], now_ms: int, memory: LaneMemory) -> Taken:
        """Take records within the batch that was begun last."""
        intake = self._stage.decode(records, now_ms)
        if self._time_of is None:
            return Taken(records, intake.items, intake.refused)
        bad = {refused.position for refused in intake.refused}
        good = [record for position, record in enumerate(records) if position not in bad]
        memory.held.offer(self._held(good, intake.items, self._time_of))
        at_once = [record for record in good if record.topic not in self._orders]
        due = memory.held.release(memory.watermarks.watermark_ms, self._records_max)
        taken = [*at_once, *(one.record for one in due)]
        again = self._stage.decode(taken, now_ms)
        assert not again.refused, "what was held decodes again"
        refused = [Refused(len(taken) + n, r.error) for n, r in enumerate(intake.refused)]
        refused_records = [records[r.position] for r in intake.refused]
        return Taken([*taken, *refused_records], again.items, refused)

    def _held(
        self, records: Sequence[Record], items: Sequence[object], time_of: Callable[..., int]
    ) -> list[HeldRecord]:
        orders = self._orders
        return [
            HeldRecord(time_of(item), orders[record.topic], record)
            for record, item in zip(records, items, strict=True)
            if record.topic in orders
        ]
