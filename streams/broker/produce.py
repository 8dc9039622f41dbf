"""Produce: check a batch, find its place, answer the offset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.batches import HEADER_SIZE, MAGIC, BatchHeader, crc_holds, read_header
from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.faults import ConnectionDroppedError
from batuta.streams.broker.messages_records import (
    ProducePartitionResult,
    ProduceRequest,
    ProduceResponse,
    ProduceTopicResult,
)

if TYPE_CHECKING:
    from batuta.streams.broker.log import PartitionLog
    from batuta.streams.broker.state import BrokerState, Call
    from batuta.streams.broker.topics import Topic

__all__ = ["produce"]

_log = structlog.get_logger(__name__)

NO_ACKS, LEADER_ACK, ALL_ACKS = 0, 1, -1


@dataclass(frozen=True, slots=True)
class _Append:
    """One batch on its way to one partition."""

    transactional_id: str | None
    topic: Topic
    partition: int
    log: PartitionLog
    data: bytes


def produce(state: BrokerState, request: ProduceRequest, _: Call) -> ProduceResponse | None:
    """Append one batch per partition; no answer where none is asked for.

    Raises:
        ConnectionDroppedError: a batch is refused and its producer asked for no answer.
    """
    topics = tuple(
        ProduceTopicResult(
            topic.name,
            tuple(
                _produce_one(state, request, topic.name, entry.partition, entry.records)
                for entry in topic.partitions
            ),
        )
        for topic in request.topics
    )
    if request.acks != NO_ACKS:
        return ProduceResponse(topics)
    if any(partition.error_code for topic in topics for partition in topic.partitions):
        raise ConnectionDroppedError("a batch was refused that asked for no answer")
    return None


def _produce_one(
    state: BrokerState, request: ProduceRequest, name: str, partition: int, data: bytes | None
) -> ProducePartitionResult:
    topic, log = state.topics.get(name), state.topics.partition(name, partition)
    if request.acks not in {NO_ACKS, LEADER_ACK, ALL_ACKS}:
        return ProducePartitionResult(partition, Code.INVALID_REQUIRED_ACKS)
    if topic is None or log is None:
        return ProducePartitionResult(partition, Code.UNKNOWN_TOPIC_OR_PARTITION)
    return _append(state, _Append(request.transactional_id, topic, partition, log, data or b""))


def _append(state: BrokerState, append: _Append) -> ProducePartitionResult:
    header = _read_single_batch(append.data)
    if header is None:
        return ProducePartitionResult(append.partition, Code.INVALID_RECORD)
    append = replace(append, data=append.data[: header.size])
    error = (
        _check_transaction(state, append, header)
        or _check_batch(state, append, header)
    )  # fmt: skip
    if error:
        return ProducePartitionResult(append.partition, error)
    duplicate = append.log.producers.duplicate_of(header)
    if duplicate is not None:
        # Apache Kafka answers a duplicate with its latest timestamp, as if it were append time.
        placed = _appended(append, duplicate.base_offset)
        return replace(placed, log_append_time_ms=header.max_timestamp_ms)
    error = append.log.producers.check(header)
    if error:
        return ProducePartitionResult(append.partition, error)
    try:
        return _appended(append, append.log.append(append.data, header))
    except DiskError as refusal:
        _log.info("append_refused", topic=append.topic.name, reason=str(refusal))
        return ProducePartitionResult(append.partition, Code.KAFKA_STORAGE_ERROR)


def _appended(append: _Append, base_offset: int) -> ProducePartitionResult:
    return ProducePartitionResult(
        append.partition, base_offset=base_offset, log_start_offset=append.log.start_offset
    )


def _read_single_batch(data: bytes) -> BatchHeader | None:
    """The header, if these bytes are one whole batch of the current format.

    A second batch that is cut short is cut off, as Apache Kafka does.
    """
    header = _read_whole_batch(data)
    if header is None or _read_whole_batch(data[header.size :]) is not None:
        return None
    return header if header.magic == MAGIC else None


def _read_whole_batch(data: bytes) -> BatchHeader | None:
    try:
        header = read_header(data)
    except ValueError:
        return None
    return header if HEADER_SIZE <= header.size <= len(data) else None


def _check_transaction(state: BrokerState, append: _Append, header: BatchHeader) -> Code:
    if not header.is_transactional:
        return Code.NONE
    if append.transactional_id is None:
        return Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if append.log.has_open_transaction(header.producer_id):
        return Code.NONE
    return state.transactions.verify(
        append.transactional_id, header, (append.topic.name, append.partition)
    )


def _check_batch(state: BrokerState, append: _Append, header: BatchHeader) -> Code:
    if header.base_offset != 0:
        return Code.INVALID_RECORD
    if header.size > append.topic.max_message_bytes:
        return Code.MESSAGE_TOO_LARGE
    if not crc_holds(append.data, header):
        return Code.CORRUPT_MESSAGE
    if header.is_control or header.record_count != header.last_offset_delta + 1:
        return Code.INVALID_RECORD
    if header.record_count <= 0:
        return Code.INVALID_RECORD
    return _check_time(state, append.topic, header)


def _check_time(state: BrokerState, topic: Topic, header: BatchHeader) -> Code:
    now_ms = state.clock.wall_ms()
    too_late = header.max_timestamp_ms - now_ms > topic.timestamp_after_max_ms
    return Code.INVALID_TIMESTAMP if too_late else Code.NONE
