"""Taking in replay: records leave in the order of their event time, however they were read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Record
from batuta.schemas.watermark import Watermark
from batuta.streams.lanes.calls import Calls
from batuta.streams.lanes.flights import Flight, Part, Refusal
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.stage import EventTime, NoState, Stage
from batuta.streams.lanes.taking import Reading, Taken, Taking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.schemas.codec import Refused

REFUSED = RefusedEventError("gave_up", "for the test")
LABELS, EVENTS = "t.outcomes", "t.ingested"
AT_ONCE = 2


@dataclass(frozen=True)
class Times:
    """What records decode to: their times."""

    items: Sequence[int]
    refused: Sequence[Refused] = ()


def decode(records: Sequence[Record], now_ms: int) -> Times:
    del now_ms
    return Times([int(record.value or b"") for record in records])


async def _never(flight: Flight) -> None:
    raise AssertionError(flight)


class Replay:
    """A lane of two inputs in replay that takes two records at once."""

    def __init__(self, parked_max: int = 0) -> None:
        stage = Stage(
            pipeline="t",
            name="scoring",
            group="t-scoring",
            inputs=(LABELS, EVENTS),
            decode=decode,
            open_state=NoState,
            changelog="t-scoring.state",
            deadletters="t.deadletters",
            event_time=EventTime(10**9, hears={LABELS: 1, EVENTS: 1}, time_of=int),
            parked_max=parked_max,
            parks=(EVENTS,),
        )
        self.memory = LaneMemory(stage)
        self.taking = Taking(stage, 0, AT_ONCE)
        self.offset = 0

    def failed(self, told_ms: int) -> Part:
        """Let go what is due by `labels`, in a batch that is rolled back; return its part."""
        flight = Flight(Part((), {}), None, Calls(0), self.memory, _never, 0.0, 0)
        self.memory.begin(flight)
        self.memory.hear([(0, Watermark(0, told_ms))], 0)
        flight.released = self.taking.take(flight.part, 0, self.memory).released
        self.memory.rollback()
        return self.taking.named(flight)

    def retry(self, part: Part) -> Taken:
        """Take what a part names, and keep it so."""
        batch = object()
        self.memory.begin(batch)
        taken = self.taking.take(part, 0, self.memory)
        self.memory.changes(batch, 0)
        self.memory.commit(batch)
        return taken

    def batch(self, records: Sequence[tuple[str, int]] = (), **told_ms: int) -> Sequence[object]:
        """Take one batch's records, and what it was told by `labels` and `events`."""
        batch = object()
        self.memory.begin(batch)
        orders = {"labels": 0, "events": 1}
        told = [(orders[name], Watermark(0, time_ms)) for name, time_ms in told_ms.items()]
        if told:
            self.memory.hear(told, 0)
        read = [self.record(topic, time_ms) for topic, time_ms in records]
        taken = self.taking.take(Part(read, {}), 0, self.memory)
        self.memory.changes(batch, 0)
        self.memory.begin_answers(batch)
        self.memory.answer_changes(batch, 0)
        self.memory.commit(batch)
        return taken.items

    def readings(self, room: int) -> tuple[Reading, ...]:
        """Return what to read where there is so much room."""
        self.memory.reserve("under way", self.memory.parked.room - room)
        return self.taking.readings(self.memory)

    def record(self, topic: str, time_ms: int) -> Record:
        self.offset += 1
        return Record(topic, 0, self.offset, 0, b"k", str(time_ms).encode(), ())


def test_what_is_read_with_its_watermark_goes_before_what_was_held() -> None:
    """More is held than leaves at once, and the label that lets it go lies before all of it."""
    replay = Replay()
    held = [(EVENTS, time_ms) for time_ms in (10, 20, 30, 40)]
    assert replay.batch(held, events=50) == []
    assert replay.batch([(LABELS, 5), (LABELS, 35)], labels=50) == [5, 10, 20]
    assert replay.batch() == [30, 35]
    assert replay.batch() == [40]


def test_what_a_failed_batch_let_go_is_let_go_again_by_name_and_nothing_else() -> None:
    replay = Replay()
    replay.batch([(EVENTS, time_ms) for time_ms in (30, 20, 20, 40)], events=50)
    part = replay.failed(50)
    assert part.released is not None
    assert [held.event_time_ms for held in part.released] == [20, 20]
    first, second = part.halves()
    assert replay.retry(first).items == [20]
    refused = replay.retry(replace(second, refusal=Refusal(REFUSED, 3)))
    assert (refused.items, len(refused.refused), len(refused.records)) == ((), 1, 1)
    assert replay.batch(labels=50) == [30, 40]


def test_a_label_goes_before_the_event_of_its_time() -> None:
    replay = Replay()
    replay.batch([(EVENTS, 10), (EVENTS, 20)], events=50)
    assert replay.batch([(LABELS, 20)], labels=50) == [10, 20, 20]


def test_what_is_held_waits_until_what_was_let_go_may_be_parked() -> None:
    replay = Replay(parked_max=3)
    replay.batch([(EVENTS, time_ms) for time_ms in (10, 20, 30)], events=50)
    replay.memory.reserve("under way", 2)
    assert replay.batch(labels=50) == [10]
    replay.memory.reserve("under way", 3)
    assert replay.batch() == []
    assert not replay.memory.is_due(0), "or the lane would go round and round"
    replay.memory.rollback()
    assert replay.memory.is_due(0)
    assert replay.batch() == [20, 30]


def test_where_there_is_little_room_what_makes_some_is_read_first() -> None:
    replay = Replay(parked_max=8)
    labels, events = (TopicPartition(topic, 0) for topic in (LABELS, EVENTS))
    read = {room: replay.readings(room) for room in (8, 3, 2, 0)}
    assert read == {
        8: (Reading((labels, events), AT_ONCE),),
        3: (Reading((labels, events), AT_ONCE),),
        2: (Reading((labels,), AT_ONCE), Reading((events,), 1)),
        0: (Reading((labels,), AT_ONCE),),
    }
