"""The batch: one Faust message, one Kafka transaction.

    async for batch in batches:
        async with batch as out:
            for case in cases_of(batch.items, batch.context):
                out.send(CASES, case)

Leaving the block cleanly commits outputs, state and offsets together, or nothing. An exception in
the block never acknowledges anything: it is handed to the lane, which decides what becomes of the
events; the agent goes on with the next batch. An agent that asks models does so through the batch,

        question = conductor.understand(batch.items, batch.context)
        answer = await batch.ask(question, conductor.ask(question))

so that the lane's next batch is understood meanwhile; from there on it writes no state of its
stage. An answer that takes longer than the soft deadline comes as `news` of a later batch. An agent
that dies outside the block, or never opens it, is trouble of our own as well: `Handover` tells the
lane.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from batuta.agents.asking import News, Outstanding
from batuta.agents.context import Context
from batuta.schemas.codec import Refused
from batuta.schemas.errors import BatchAbandonedError, OursError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, OutputColumns, Record
from batuta.streams.lanes.failpoints import reach
from batuta.streams.lanes.producer import Destination, Row
from batuta.streams.lanes.whose import STAGE

if TYPE_CHECKING:
    from batuta.agents.state.timers import Firing

__all__ = ["Batch", "Handover", "Outlet", "Rows", "Turns", "group_rows"]

ItemT_co = TypeVar("ItemT_co", covariant=True)
StateT_co = TypeVar("StateT_co", covariant=True)
MessageT = TypeVar("MessageT")
AnswerT = TypeVar("AnswerT")

Rows = dict[Destination, list[Row]]


@dataclass(frozen=True, slots=True)
class Outlet(Generic[MessageT]):
    """A topic and how its messages become records.

    Attributes:
        encode_all: many at once, where that costs less than one by one.
    """

    topic: str
    encode: Callable[[MessageT, str], Output]
    encode_all: Callable[[Sequence[MessageT], str], OutputColumns] | None = None


class Turns(Protocol):
    """What a batch has to do with those before and after it in its lane."""

    def understood(self) -> None:
        """Let the next batch have the state."""
        ...

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Wait for an answer, but not for long, and for the batches before to have theirs."""
        ...

    async def commit(self) -> None:
        """Commit, after the batches before."""
        ...

    def ended(self) -> None:
        """Note that the batch has ended, one way or the other."""
        ...


class _Over:
    """The turns of a batch that has ended: there are none."""

    def understood(self) -> None:
        """Let nobody go on: everybody has."""

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Ask nobody."""
        del question
        asking.close()
        raise BatchAbandonedError("the batch has ended")

    async def commit(self) -> None:
        """Commit nothing."""
        raise BatchAbandonedError("the batch has ended")

    def ended(self) -> None:
        """Tell nobody: everybody knows."""


class Batch(Generic[ItemT_co, StateT_co]):
    """Some records of one lane, decoded, with the context to think about them.

    Attributes:
        records: what was read, in order.
        items: what of it decoded.
        refused: what did not; the lane writes the dead letters.
        context: clock, partition and state.
        firings: timers whose time has come.
        news: of what earlier batches have asked.
        outputs: what the block wrote.
        stage: whose batch it is.
    """

    def __init__(
        self,
        records: Sequence[Record],
        items: Sequence[ItemT_co],
        refused: Sequence[Refused],
        context: Context[StateT_co],
        turns: Turns,
    ) -> None:
        self.records: Sequence[Record] = records
        self.items: Sequence[ItemT_co] = items
        self.refused = list(refused)
        self.firings: Sequence[Firing] = ()
        self.news: News[Any, Any] = News()
        self.questions: list[tuple[object, Callable[[], Coroutine[Any, Any, object]]]] = []
        self.outputs: list[Output | OutputColumns] = []
        self.error: BaseException | None = None
        self._ended = asyncio.Event()
        self.context = context
        self._turns = turns
        self.stage = STAGE.get()
        self._after_commit: list[Callable[[], None]] = []

    def send(self, outlet: Outlet[MessageT], message: MessageT) -> None:
        """Write one message when the batch commits."""
        self.outputs.append(outlet.encode(message, outlet.topic))

    def send_all(self, outlet: Outlet[MessageT], messages: Sequence[MessageT]) -> None:
        """Write messages, in order, when the batch commits."""
        if outlet.encode_all is not None:
            self.outputs.append(outlet.encode_all(messages, outlet.topic))
        else:
            self.outputs += [outlet.encode(message, outlet.topic) for message in messages]

    def forward(self, output: Output | OutputColumns) -> None:
        """Write a record, or many of one topic, as they are when the batch commits."""
        self.outputs.append(output)

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Send records of this batch to the dead letters when it commits."""
        self.refused.extend(refused)

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        """Wait for an answer while the lane's next batch is understood, then go on in turn.

        Args:
            question: what is asked; comes back with an answer that takes too long.
            asking: the asking itself; it goes on where it outlives its batch.

        Returns:
            The answer, or `OUTSTANDING`: what it was asked for is to be parked.

        Raises:
            BatchAbandonedError: a batch before this one failed meanwhile.
            Exception: what `asking` raised.
        """
        self._turns.understood()
        return await self._turns.ask(question, asking)

    def ask_later(self, question: object, ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Ask once this batch is committed; the answer comes as news of a later one."""
        self.questions.append((question, ask))

    def after_commit(self, fact: Callable[[], None]) -> None:
        """Count something once it is true."""
        self._after_commit.append(fact)

    def tell(self) -> None:
        """Count what was to be counted after the commit."""
        for fact in self._after_commit:
            fact()

    @property
    def ended(self) -> bool:
        """Whether the agent is through with it, one way or the other."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Return once the agent is through with it; `error` says how it ended."""
        reach("batch.ended")
        await self._ended.wait()

    def end(self, error: BaseException | None) -> None:
        """Let the lane go on; the first end counts."""
        if not self._ended.is_set():
            self.error = error
            self._ended.set()
            self._turns.ended()
            # Who has the turns has the batch: together they would stay, with every record in them,
            # until the collector comes by, and it comes by seldom.
            self._turns = _Over()
            if error is None:  # an agent without work keeps its last batch: an empty one
                self.records, self.items, self.outputs = (), (), []

    async def __aenter__(self) -> "Batch[ItemT_co, StateT_co]":
        """Open the batch."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Commit, or hand the trouble to the lane; what ends the process goes on from here."""
        if error is None:
            try:
                await self._turns.commit()
            except BaseException as trouble:  # noqa: BLE001  the lane decides, see Lane._attempt
                error = trouble
        if isinstance(error, asyncio.CancelledError):
            self.end(OursError("the agent was cancelled inside a batch"))
        else:
            self.end(error)
        return error is None or isinstance(error, Exception)


class Handover:
    """Follows the batches one agent takes: one that it drops is ended as trouble of our own.

    A processor of the agent's stream, so that it is called in the agent's own task.
    """

    def __init__(self) -> None:
        self._held: Batch[object, object] | None = None
        self._task: asyncio.Task[object] | None = None

    def __call__(self, batch: Batch[object, object]) -> Batch[object, object]:
        """Note the batch that the agent takes next."""
        self._drop("the agent went on without opening its batch")
        self._held = batch
        STAGE.set(batch.stage)
        task = asyncio.current_task()
        if task is not None and task is not self._task:
            self._task = task
            task.add_done_callback(lambda _: self._drop("the agent died outside its batch"))
        return batch

    def _drop(self, why: str) -> None:
        if self._held is not None:
            self._held.end(OursError(why))
            self._held = None


def group_rows(
    outputs: Iterable[Output | OutputColumns], partition_of: Mapping[str, PartitionOf]
) -> Rows:
    """Group outputs by topic and partition, order kept; a keyless output goes to partition 0."""
    rows: Rows = defaultdict(list)
    for output in outputs:
        if isinstance(output, OutputColumns):
            _add_columns(rows, output, partition_of)
            continue
        topic, key, value, headers, partition = output
        if partition is None:
            partition = partition_of[topic](key) if key is not None else 0
        rows[topic, partition].append((key, value, headers))
    return rows


def _add_columns(
    rows: Rows, columns: OutputColumns, partition_of: Mapping[str, PartitionOf]
) -> None:
    """Add what is written in columns; mostly all of it goes to one partition."""
    if not columns.keys:
        return
    topic, first = columns.topic, columns.partition
    partitions: Sequence[int] = ()
    if first is None:
        partitions = partition_of[topic].of_all(columns.keys)
        first = partitions[0]
    if partitions.count(first) == len(partitions):
        rows[topic, first].extend(columns.rows)
    else:
        for partition, row in zip(partitions, columns.rows, strict=True):
            rows[topic, partition].append(row)
