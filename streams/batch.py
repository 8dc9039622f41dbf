"""The batch: one Faust message, one Kafka transaction.

    async for batch in batches:
        async with batch as out:
            for decision in await conductor.decide(batch.items, batch.context):
                out.send(DECISIONS, decision)

Leaving the block cleanly commits outputs, state and offsets together, or nothing. An exception in
the block never acknowledges anything: it is handed to the lane, which decides what becomes of the
events; the agent goes on with the next batch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from aiokafka import TopicPartition

from batuta.agents.context import Context
from batuta.schemas.codec import Refused
from batuta.schemas.errors import OwnershipLostError
from batuta.schemas.record import Output, Record
from batuta.streams.producer import Destination, Row

__all__ = ["Batch", "Outlet", "Rows"]

ItemT_co = TypeVar("ItemT_co", covariant=True)
StateT_co = TypeVar("StateT_co", covariant=True)
MessageT = TypeVar("MessageT")

Rows = dict[Destination, list[Row]]


@dataclass(frozen=True, slots=True)
class Outlet(Generic[MessageT]):
    """A topic and how its messages become records."""

    topic: str
    encode: Callable[[MessageT, str], Output]


class Batch(Generic[ItemT_co, StateT_co]):
    """Some records of one lane, decoded, with the context to think about them.

    Attributes:
        records: what was read, in order.
        items: what of it decoded.
        refused: what did not; the lane writes the dead letters.
        context: clock, partition and state.
        outputs: what the block wrote.
    """

    def __init__(
        self,
        records: Sequence[Record],
        items: Sequence[ItemT_co],
        refused: Sequence[Refused],
        context: Context[StateT_co],
        commit: "Callable[[Batch[ItemT_co, StateT_co]], Awaitable[None]]",
    ) -> None:
        self.records = records
        self.items = items
        self.refused = list(refused)
        self.context = context
        self.outputs: list[Output] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commit = commit
        self._after_commit: list[Callable[[], None]] = []

    def send(self, outlet: Outlet[MessageT], message: MessageT) -> None:
        """Write one message when the batch commits."""
        self.outputs.append(outlet.encode(message, outlet.topic))

    def forward(self, output: Output) -> None:
        """Write a record as it is when the batch commits."""
        self.outputs.append(output)

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Send records of this batch to the dead letters when it commits."""
        self.refused.extend(refused)

    def after_commit(self, fact: Callable[[], None]) -> None:
        """Count something once it is true."""
        self._after_commit.append(fact)

    def offsets(self) -> dict[TopicPartition, int]:
        """Return the next offset to read of each input partition."""
        ends: dict[TopicPartition, int] = {}
        for record in self.records:
            ends[TopicPartition(record.topic, record.partition)] = record.offset + 1
        return ends

    async def __aenter__(self) -> "Batch[ItemT_co, StateT_co]":
        """Open the batch."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Commit, or hand the trouble to the lane; only a cancellation goes on from here."""
        if error is None:
            try:
                await self._commit(self)
            except BaseException as trouble:  # noqa: BLE001  the lane decides, see Lane._attempt
                error = trouble
        if error is None:
            self._settle()
            return True
        cancelled = isinstance(error, asyncio.CancelledError)
        self._fail(OwnershipLostError("the agent was stopped") if cancelled else error)
        return not cancelled

    def _settle(self) -> None:
        for fact in self._after_commit:
            fact()
        if not self.done.done():
            self.done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            # Nobody awaits the future of a batch whose lane was revoked meanwhile.
            self.done.exception()


def group_rows(
    outputs: Iterable[Output], partition_of: Mapping[str, Callable[[bytes], int]]
) -> Rows:
    """Group outputs by topic and partition, order kept; a keyless output goes to partition 0."""
    rows: Rows = defaultdict(list)
    for topic, key, value, headers, partition in outputs:
        if partition is None:
            partition = partition_of[topic](key) if key is not None else 0  # noqa: PLW2901
        rows[topic, partition].append((key, value, headers))
    return rows
