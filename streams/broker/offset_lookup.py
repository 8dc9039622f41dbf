"""Where a log starts, ends, or was at a given time; and what may be deleted from its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.messages_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
    ListOffsetsPartition,
    ListOffsetsPartitionResult,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResult,
    OffsetForLeaderEpochPartitionResult,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochTopicResult,
)

if TYPE_CHECKING:
    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.state import BrokerState, Call

__all__ = ["delete_records", "list_offsets", "offset_for_leader_epoch"]

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL = -1, -2, -3, -4
LEADER_EPOCH = 0


def list_offsets(state: BrokerState, request: ListOffsetsRequest, _: Call) -> ListOffsetsResponse:
    """Answer the offset at the start, the end, or the first record as late as asked."""
    committed = request.isolation_level == 1
    return ListOffsetsResponse(
        topics=tuple(
            ListOffsetsTopicResult(
                topic.name,
                tuple(
                    _list_one(state.topics.partition(topic.name, entry.partition), entry, committed)
                    for entry in topic.partitions
                ),
            )
            for topic in request.topics
        )
    )


def _list_one(
    log: PartitionLog | None,
    asked: ListOffsetsPartition,
    committed: bool,  # noqa: FBT001 - the isolation level
) -> ListOffsetsPartitionResult:
    if log is None:
        return ListOffsetsPartitionResult(asked.partition, Code.UNKNOWN_TOPIC_OR_PARTITION)
    if asked.current_leader_epoch > LEADER_EPOCH:
        return ListOffsetsPartitionResult(asked.partition, Code.UNKNOWN_LEADER_EPOCH)
    end = log.last_stable_offset if committed else log.end_offset
    if asked.timestamp_ms == LATEST:
        return _found(asked, end)
    if asked.timestamp_ms in {EARLIEST, EARLIEST_LOCAL}:
        return _found(asked, log.start_offset)
    return _list_by_time(log, asked, end)


def _list_by_time(
    log: PartitionLog, asked: ListOffsetsPartition, end: int
) -> ListOffsetsPartitionResult:
    latest = asked.timestamp_ms == MAX_TIMESTAMP
    try:
        hit = log.find_latest() if latest else log.find_by_time(asked.timestamp_ms)
    except DiskError:
        return ListOffsetsPartitionResult(asked.partition, Code.KAFKA_STORAGE_ERROR)
    if hit is None or hit.offset >= end:
        return ListOffsetsPartitionResult(asked.partition)
    return _found(asked, hit.offset, hit.timestamp_ms)


def _found(
    asked: ListOffsetsPartition, offset: int, timestamp_ms: int = -1
) -> ListOffsetsPartitionResult:
    return ListOffsetsPartitionResult(
        asked.partition, Code.NONE, timestamp_ms, offset, leader_epoch=LEADER_EPOCH
    )


def delete_records(
    state: BrokerState, request: DeleteRecordsRequest, _: Call
) -> DeleteRecordsResponse:
    """Let logs start later."""

    def delete(name: str, partition: int, offset: int) -> DeleteRecordsPartitionResult:
        log = state.topics.partition(name, partition)
        if log is None:
            return DeleteRecordsPartitionResult(partition, -1, Code.UNKNOWN_TOPIC_OR_PARTITION)
        try:
            error = log.delete_before(offset)
        except DiskError:
            error = Code.KAFKA_STORAGE_ERROR
        return DeleteRecordsPartitionResult(partition, -1 if error else log.start_offset, error)

    return DeleteRecordsResponse(
        topics=tuple(
            DeleteRecordsTopicResult(
                topic.name,
                tuple(delete(topic.name, p.partition, p.offset) for p in topic.partitions),
            )
            for topic in request.topics
        )
    )


def offset_for_leader_epoch(
    state: BrokerState, request: OffsetForLeaderEpochRequest, _: Call
) -> OffsetForLeaderEpochResponse:
    """Answer where an epoch ended: there is one, and it has not."""

    def ask(name: str, partition: int, epoch: int) -> OffsetForLeaderEpochPartitionResult:
        log = state.topics.partition(name, partition)
        if log is None:
            return OffsetForLeaderEpochPartitionResult(Code.UNKNOWN_TOPIC_OR_PARTITION, partition)
        if epoch != LEADER_EPOCH:
            return OffsetForLeaderEpochPartitionResult(Code.NONE, partition)
        return OffsetForLeaderEpochPartitionResult(
            Code.NONE, partition, LEADER_EPOCH, log.end_offset
        )

    return OffsetForLeaderEpochResponse(
        topics=tuple(
            OffsetForLeaderEpochTopicResult(
                topic.name,
                tuple(ask(topic.name, p.partition, p.leader_epoch) for p in topic.partitions),
            )
            for topic in request.topics
        )
    )
