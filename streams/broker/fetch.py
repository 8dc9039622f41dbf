"""Fetch: read batches, and wait a little where there are none yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.messages_records import (
    AbortedTransaction,
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    FetchTopicResult,
)
from batuta.streams.broker.pending import Pending

if TYPE_CHECKING:
    from batuta.streams.broker.clock import Alarm
    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.state import BrokerState, Call
    from batuta.streams.broker.topics import Topic

__all__ = ["fetch"]

LEADER_EPOCH = 0
FIRST_VERSION_WITH_IDS = 13
#: Errors that do not end a long poll while other partitions can be read.
_UNKNOWN = frozenset({Code.UNKNOWN_TOPIC_OR_PARTITION, Code.UNKNOWN_TOPIC_ID})


def fetch(
    state: BrokerState, request: FetchRequest, call: Call
) -> FetchResponse | Pending[FetchResponse]:
    """Answer at once when there is enough to read or an error, else after a long poll.

    Incremental fetch sessions are declined, as Kafka does when its cache is full.
    """
    if request.session_id:
        return FetchResponse(error_code=Code.FETCH_SESSION_ID_NOT_FOUND)
    poll = _Poll(state, request, by_id=call.version >= FIRST_VERSION_WITH_IDS)
    reading = poll.read()
    if reading.is_enough(request) or request.max_wait_ms <= 0:
        return reading.response
    return poll.wait()


@dataclass(slots=True)
class _Reading:
    """What one pass over the partitions found."""

    response: FetchResponse
    size: int = 0
    failed: bool = False

    def is_enough(self, request: FetchRequest) -> bool:
        return self.failed or self.size >= request.min_bytes


class _Poll:
    """One fetch request, which may be read more than once before it is answered."""

    def __init__(self, state: BrokerState, request: FetchRequest, *, by_id: bool) -> None:
        self._state, self._request, self._by_id = state, request, by_id
        self._committed = request.isolation_level == 1
        self._answer: Pending[FetchResponse] = Pending()
        self._deadline: Alarm | None = None
        self._look_planned = False
        self._size, self._failed, self._known = 0, False, False

    def read(self) -> _Reading:
        """Read every partition once, within the limits of the request."""
        self._size, self._failed, self._known = 0, False, False
        topics = tuple(self._read_topic(topic) for topic in self._request.topics)
        failed = self._failed or not self._known
        return _Reading(FetchResponse(topics=topics), self._size, failed)

    def wait(self) -> Pending[FetchResponse]:
        """Look again whenever something was appended, until the request's time is over."""
        for log in self._logs():
            log.watch(self, self._plan_look)
        self._deadline = self._state.clock.call_later(self._request.max_wait_ms, self._finish)
        return self._answer

    def _plan_look(self) -> None:
        if not self._look_planned:
            self._look_planned = True
            self._state.clock.call_later(0, self._look)

    def _look(self) -> None:
        self._look_planned = False
        if self._answer.done:
            return
        reading = self.read()
        if reading.is_enough(self._request):
            self._close(reading.response)

    def _finish(self) -> None:
        self._close(self.read().response)

    def _close(self, response: FetchResponse) -> None:
        for log in self._logs():
            log.unwatch(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self._answer.resolve(response)

    def _logs(self) -> list[PartitionLog]:
        return [
            topic.partitions[entry.partition]
            for asked in self._request.topics
            if (topic := self._find(asked)) is not None
            for entry in asked.partitions
            if 0 <= entry.partition < len(topic.partitions)
        ]

    def _find(self, asked: FetchTopic) -> Topic | None:
        topics = self._state.topics
        return topics.get_by_id(asked.topic_id) if self._by_id else topics.get(asked.name)

    def _read_topic(self, asked: FetchTopic) -> FetchTopicResult:
        topic = self._find(asked)
        partitions = tuple(self._read_partition(topic, entry) for entry in asked.partitions)
        return FetchTopicResult(asked.name, asked.topic_id, partitions)

    def _read_partition(self, topic: Topic | None, asked: FetchPartition) -> FetchPartitionResult:
        error = self._check(topic, asked)
        if topic is None or error in _UNKNOWN:
            return FetchPartitionResult(asked.partition, error)
        self._known = True
        if error:
            self._failed = True
            return FetchPartitionResult(asked.partition, error)
        return self._read_log(topic.partitions[asked.partition], asked)

    def _check(self, topic: Topic | None, asked: FetchPartition) -> Code:
        if topic is None:
            return Code.UNKNOWN_TOPIC_ID if self._by_id else Code.UNKNOWN_TOPIC_OR_PARTITION
        if not 0 <= asked.partition < len(topic.partitions):
            return Code.UNKNOWN_TOPIC_OR_PARTITION
        if asked.current_leader_epoch > LEADER_EPOCH:
            return Code.UNKNOWN_LEADER_EPOCH
        log = topic.partitions[asked.partition]
        in_range = log.start_offset <= asked.fetch_offset <= log.end_offset
        return Code.NONE if in_range else Code.OFFSET_OUT_OF_RANGE

    def _read_log(self, log: PartitionLog, asked: FetchPartition) -> FetchPartitionResult:
        stable = log.last_stable_offset
        limit = stable if self._committed else log.end_offset
        room = min(asked.max_bytes, self._request.max_bytes - self._size)
        try:
            chunk = log.read(asked.fetch_offset, limit, room, at_least_one=self._size == 0)
        except DiskError:
            self._failed = True
            return FetchPartitionResult(asked.partition, Code.KAFKA_STORAGE_ERROR)
        self._size += len(chunk.data)
        return FetchPartitionResult(
            asked.partition,
            high_watermark=log.end_offset,
            last_stable_offset=stable,
            log_start_offset=log.start_offset,
            aborted_transactions=self._aborted(log, asked.fetch_offset, chunk.end_offset),
            records=chunk.data,
        )

    def _aborted(
        self, log: PartitionLog, first: int, end: int
    ) -> tuple[AbortedTransaction, ...] | None:
        if not self._committed:
            return None
        spans = log.aborted_between(first, end)
        return tuple(AbortedTransaction(span.producer_id, span.first_offset) for span in spans)
