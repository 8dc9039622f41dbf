"""Redriving: dead letters go back to the stage that refused them, each once.

One transaction carries the records to the stages' own redrive topics and, to the ledger, a marker
per dead letter. Nobody but the holder of the transactional id `<pipeline>-redrive` writes either,
and the ledger is read after that id was taken: whoever had it is fenced by then, and what they left
open was aborted. So a crash, a second run, or two people at once redrive no letter twice.

A marker is taken out once its dead letter has left the topic, by retention say, and a week has
passed: it cannot be redriven any more. A week, as after the loss of a broker the topic may for a
while begin further back.

    async with Redrive(settings, topics) as redrive:
        await redrive.send([Return(found, found.letter.record)])
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiokafka.errors import KafkaError

from batuta.schemas.errors import BrokerUnreachableError, LaterError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.schemas.redriven import Marker, encode_marker, encode_pruned, redriven_headers
from batuta.schemas.topics import Topics
from batuta.streams.deadletters.dead_letters import Found, Ledger, read_ledger
from batuta.streams.lanes.batch import Rows
from batuta.streams.lanes.producer import LaneProducer, TransactionFailedError
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_admin import declare_topics
from batuta.streams.topic_reader import TopicReader

__all__ = ["Redrive", "RedriveTakenOverError", "Return"]

_ID: Final = "redrive"
_DAY_MS: Final = 86_400_000
#: So long a marker is kept in any case.
_KEPT_MS: Final = 7 * _DAY_MS
_PRUNED_AT_ONCE: Final = 10_000


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


class RedriveTakenOverError(LaterError):
    """Another redrive of the same pipeline has begun; this one can write nothing any more."""


@dataclass(frozen=True, slots=True)
class Return:
    """One dead letter on its way back.

    Attributes:
        found: the dead letter.
        record: what the stage shall read; its key, value and headers count. Under the key it was
            refused with it goes to the partition it was refused in, else to the new key's.
    """

    found: Found
    record: Record

    @property
    def fixed(self) -> bool:
        """Whether it is not what the stage refused."""
        refused = self.found.letter.record
        return (self.record.value, self.record.headers, self.record.key) != (
            refused.value,
            refused.headers,
            refused.key,
        )


class Redrive:
    """The one writer of a pipeline's redrive topics.

    Args:
        clock: milliseconds since 1970 UTC.

    Attributes:
        ledger: what was redriven, by this run and all before it.
    """

    def __init__(
        self, settings: Settings, topics: Topics, clock: Callable[[], int] = _clock_ms
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._topics = topics
        self._producer = LaneProducer(settings, topics.group(_ID))
        self.ledger: Ledger = Ledger()

    async def __aenter__(self) -> Self:
        """Make sure of the topics, fence whoever redrives, and read what they redrove.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: a topic is missing and may not be created.
        """
        try:
            counts = await declare_topics(self._settings, self._topics)
            self._partition_of = PartitionOf(counts[self._topics.events])
            await self._producer.start()
            self.ledger = await read_ledger(client_options(self._settings), self._topics)
        except KafkaError as error:
            await self._producer.discard()
            where = self._settings.brokers
            raise BrokerUnreachableError(f"no broker answers at {where}: {error!r}") from error
        except BaseException:
            await self._producer.discard()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the producer."""
        await self._producer.discard()

    async def send(self, returns: Sequence[Return]) -> None:
        """Redrive some dead letters, all or none; none of them may stand in the ledger.

        Raises:
            RedriveTakenOverError: another redrive has begun.
            TransactionFailedError: the transaction failed, or nobody saw how it ended; the ledger
                tells the next run.
            OutputRefusedError: a topic refused a record.
        """
        now_ms = self._clock()
        markers = [_marker(one, now_ms) for one in returns]
        assert not any(one.found in self.ledger for one in returns), "redriven before"
        await self._transact(self._rows(returns, markers))
        for marker in markers:
            self.ledger.add(marker)

    async def prune(self) -> int:
        """Take out the markers of dead letters that nobody can redrive any more; say how many.

        To be called before any dead letter is read: what is read later was there still.

        Raises:
            BrokerUnreachableError: no broker answers.
            RedriveTakenOverError: another redrive has begun.
            TransactionFailedError: the transaction failed; the next run goes on.
        """
        options, topic = client_options(self._settings), self._topics.deadletters
        async with TopicReader(options, [topic]) as reader:
            found = await reader.beginnings()
        beginnings = {tp.partition: offset for tp, offset in found.items()}
        outlived = self.ledger.outlived(beginnings, self._clock() - _KEPT_MS)
        for first in range(0, len(outlived), _PRUNED_AT_ONCE):
            letters = outlived[first : first + _PRUNED_AT_ONCE]
            rows: Rows = defaultdict(list)
            for letter in letters:
                output = encode_pruned(letter, self._topics.redriven)
                rows[output.topic, letter.partition].append((output.key, output.value, ()))
            await self._transact(rows)
            for letter in letters:
                self.ledger.remove(letter)
        return len(outlived)

    async def _transact(self, rows: Rows) -> None:
        try:
            await self._producer.transact(rows, {}, self._topics.group(_ID))
        except TransactionFailedError as error:
            if not error.fenced:
                raise
            name = self._topics.pipeline
            raise RedriveTakenOverError(f"another redrive of {name} has taken over") from error

    def _rows(self, returns: Sequence[Return], markers: Sequence[Marker]) -> Rows:
        rows: Rows = defaultdict(list)
        for one in returns:
            record, stage = one.record, one.found.letter.stage
            headers = redriven_headers(record.headers, one.found.id)
            place = self._topics.redrive(stage), self._place(one)
            rows[place].append((record.key, record.value, headers))
        for marker in markers:
            output = encode_marker(marker, self._topics.redriven)
            place = output.topic, marker.letter.partition
            rows[place].append((output.key, output.value, output.headers))
        return rows

    def _place(self, one: Return) -> int:
        refused = one.found.letter.record
        if one.record.key is None or one.record.key == refused.key:
            return refused.partition
        return self._partition_of(one.record.key)


def _marker(one: Return, now_ms: int) -> Marker:
    found = one.found
    return Marker(found.id, found.timestamp_ms, found.letter.stage, one.fixed, now_ms)
