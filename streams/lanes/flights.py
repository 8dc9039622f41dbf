"""Flights: the batches of a lane that are under way at once, each in its turn.

    understand   the agent reads and writes the lane's state     one batch at a time, in order
    ask          models answer                                   several batches at once
    answer       the agent writes what the answers mean          one batch at a time, in order
    commit       outputs, state and offsets                      one batch at a time, in order

A batch begins once the one before it has understood; it answers once the one before it has
answered, and commits once that one is committed. Where a batch fails, all after it are given up:
they were understood on top of what it had understood.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aiokafka import TopicPartition

from batuta.agents.asking import OUTSTANDING, News, Outstanding
from batuta.agents.state.alignment import HeldRecord
from batuta.agents.state.event_time import BEFORE_ALL_MS
from batuta.agents.state.port import Change, State
from batuta.schemas.errors import BatchAbandonedError, RefusedEventError
from batuta.schemas.record import Record
from batuta.streams.lanes.batch import Batch
from batuta.streams.lanes.calls import Call, Calls
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.memory import LaneMemory, Told
from batuta.streams.lanes.oversize import TooLarge
from batuta.streams.lanes.ownership import Offsets

__all__ = ["AnyBatch", "Flight", "Flights", "Part", "Refusal"]

AnswerT = TypeVar("AnswerT")

AnyBatch = Batch[object, State]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the record of a part is given up, and after how many attempts."""

    error: RefusedEventError
    attempts: int


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be seen through in one transaction, and the offsets behind it.

    Attributes:
        records: in the order they were read.
        ends: the offsets to commit.
        timers: whether timers that are due fire in it.
        answered: calls of batches before that were answered.
        watermarks: what the lanes above have told.
        revived: whether the agent has to ask again what was asked before.
        released: which of the records that are held back it lets go, in turn; None for whatever is
            due, as always but after trouble.
        too_large: by topic, what is to be given up of what it writes there; None mostly.
        refusal: why its record is given up; None mostly.
    """

    records: Sequence[Record]
    ends: Offsets
    timers: bool = False
    answered: tuple[Call, ...] = ()
    watermarks: tuple[Told, ...] = ()
    revived: bool = False
    released: tuple[HeldRecord, ...] | None = None
    too_large: Mapping[str, TooLarge] | None = None
    refusal: Refusal | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.records or self._mixed)

    @property
    def splits(self) -> bool:
        """Whether it can be seen through in smaller parts."""
        return len(self.records) + len(self.released or ()) > (0 if self._mixed else 1)

    @property
    def gives_up(self) -> bool:
        """Whether it carries a record that may be given up."""
        return bool(self.records or self.released)

    @property
    def _mixed(self) -> bool:
        return self.timers or self.revived or bool(self.answered or self.watermarks)

    @property
    def news(self) -> News[object, object]:
        """What its agent hears: answers to questions of batches that were not given up since."""
        answers = [call.answered for call in self.answered if not call.withdrawn]
        return News([answer for answer in answers if answer is not None], self.revived)

    def without(self, topic: str, too_large: TooLarge) -> "Part":
        """Return it with what is too large for a topic to be given up."""
        return replace(self, too_large={**(self.too_large or {}), topic: too_large})

    def halves(self) -> "tuple[Part, Part]":
        """Return two parts of it: what is no record and the records, or two halves of those.

        Where watermarks are in it the records that were read come first: heard before them, they
        would make late, or in replay let go too early, what they were told behind. Before records
        that were held they come as well: some may have their turn between those, and what is due
        then shows once they are held too.
        """
        records, released = self.records, self.released
        none = None if released is None else ()
        if records and (self.watermarks or released):
            rest = replace(self, records=(), released=None)
            return Part(records, _ends_of(records), released=none), rest
        if self._mixed:
            rest = Part(records, self.ends if records else {}, released=released)
            return replace(self, records=(), ends={} if records else self.ends, released=none), rest
        if released and not records:
            middle = len(released) // 2
            rest = replace(self, released=released[middle:])
            return Part((), {}, released=released[:middle]), rest
        middle = len(records) // 2
        first, second = records[:middle], records[middle:]
        return Part(first, _ends_of(first), released=none), Part(second, self.ends, released=none)


def _ends_of(records: Sequence[Record]) -> Offsets:
    """Return the offsets behind some records."""
    return {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}


@dataclass(eq=False)
class Flight:
    """One batch under way; its `Turns` as the batch sees them.

    Attributes:
        part: what it carries.
        now_ms: the clock as it was begun.
        released: the records that were held back and that it let go.
        changes: what it changed in the state, once it has understood.
        watermark_ms: how far event time had come once it has understood.
        started_s: when it was begun, in the running loop's time.
    """

    part: Part
    before: "Flight | None"
    calls: Calls
    memory: LaneMemory
    commit_it: "Callable[[Flight], Awaitable[None]]"
    started_s: float
    now_ms: int
    released: Sequence[HeldRecord] = ()
    changes: list[Change] = field(default_factory=list[Change])
    watermark_ms: int = BEFORE_ALL_MS

    def __post_init__(self) -> None:
        """Begin with everything still to come."""
        self._batch: AnyBatch | None = None
        self._call: Call | None = None
        self._understood = asyncio.Event()
        self._answered = asyncio.Event()
        self._answering = False

    @property
    def batch(self) -> AnyBatch:
        """The batch it is about."""
        assert self._batch is not None, "the flight has no batch yet"
        return self._batch

    @batch.setter
    def batch(self, batch: AnyBatch) -> None:
        self._batch = batch

    @property
    def failed(self) -> bool:
        """Whether it ended without a commit."""
        return self.batch.ended and self.batch.error is not None

    def give_up(self) -> None:
        """Let nobody hear an answer to what it asked: it asked on a state that never was."""
        if self._call is not None:
            self._call.withdraw()

    async def wait_understood(self) -> None:
        """Return once the next batch may begin, or never will."""
        reach("flight.understood")
        await self._understood.wait()

    # Turns

    def understood(self) -> None:
        """Take the state's changes: from here on the next batch writes to it."""
        if not self._understood.is_set():
            self.watermark_ms = self.memory.watermark_ms
            self.changes = self.memory.changes(self, self.now_ms)
            self._understood.set()

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Wait for an answer up to the soft deadline, and for the answers of those before.

        Raises:
            BatchAbandonedError: a batch before failed.
            Exception: what `asking` raised.
        """
        answer = await self.calls.ask(question, asking)
        if isinstance(answer, Call):
            self._call = answer
        await self._answer()
        return OUTSTANDING if isinstance(answer, Call) else answer

    async def commit(self) -> None:
        """Commit in turn; called as the agent leaves the batch.

        Raises:
            BatchAbandonedError: a batch before failed.
            Exception: what the commit raised.
        """
        self.understood()
        await self._answer()
        self.changes += self.memory.answer_changes(self, self.now_ms)
        self._answered.set()
        if (before := self.before) is not None:
            await before.batch.wait_ended()
            self._check(before)
        self.before = None
        reach("flight.commit")
        await self.commit_it(self)

    async def _answer(self) -> None:
        """Begin the second turn, once every batch before has had its own."""
        if self._answering:
            return
        if (before := self.before) is not None:
            reach("flight.answered")
            await before._answered.wait()  # noqa: SLF001  its own kind
            self._check(before)
        self._answering = True
        self.memory.begin_answers(self)

    def ended(self) -> None:
        """Let whoever waits for this batch see how it ended."""
        self._understood.set()
        self._answered.set()

    def _check(self, before: "Flight") -> None:
        if before.failed:
            raise BatchAbandonedError("the batch before this one was not committed")


class Flights:
    """The batches under way in one lane, oldest first."""

    def __init__(self) -> None:
        self._flights: deque[Flight] = deque()

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        """Yield them, oldest first."""
        return iter(self._flights)

    @property
    def newest(self) -> Flight | None:
        """The one that was begun last."""
        return self._flights[-1] if self._flights else None

    @property
    def oldest(self) -> Flight | None:
        """The one that was begun first."""
        return self._flights[0] if self._flights else None

    def may_commit(self, flight: Flight) -> bool:
        """Whether `flight` is under way still, and the next in turn."""
        return flight is next((one for one in self._flights if not one.batch.ended), None)

    def add(self, flight: Flight) -> None:
        """Take one up."""
        self._flights.append(flight)

    def drop(self, flight: Flight) -> None:
        """Let the oldest go."""
        assert self._flights[0] is flight, "batches end in order"
        self._flights.popleft()

    async def wait_ended(self) -> None:
        """Return once the agent is through with every one of them."""
        for flight in tuple(self._flights):
            await flight.batch.wait_ended()

    def take(self) -> list[Flight]:
        """Let all of them go and return them, oldest first."""
        flights = list(self._flights)
        self._flights.clear()
        return flights
