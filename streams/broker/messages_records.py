"""Messages about records: Produce, Fetch, ListOffsets, DeleteRecords, OffsetForLeaderEpoch."""
# ruff: noqa: D101 - each message is described in the protocol guide of Apache Kafka

from dataclasses import dataclass
from typing import Annotated

from batuta.streams.broker.codec import (
    NO_UUID,
    Int8,
    Int16,
    Int32,
    Int64,
    NullableBytes,
    NullableString,
    String,
    Uuid,
    since,
    until,
)

__all__ = [
    "AbortedTransaction",
    "DeleteRecordsPartition",
    "DeleteRecordsPartitionResult",
    "DeleteRecordsRequest",
    "DeleteRecordsResponse",
    "DeleteRecordsTopic",
    "DeleteRecordsTopicResult",
    "FetchPartition",
    "FetchPartitionResult",
    "FetchRequest",
    "FetchResponse",
    "FetchTopic",
    "FetchTopicResult",
    "ForgottenTopic",
    "ListOffsetsPartition",
    "ListOffsetsPartitionResult",
    "ListOffsetsRequest",
    "ListOffsetsResponse",
    "ListOffsetsTopic",
    "ListOffsetsTopicResult",
    "OffsetForLeaderEpochPartition",
    "OffsetForLeaderEpochPartitionResult",
    "OffsetForLeaderEpochRequest",
    "OffsetForLeaderEpochResponse",
    "OffsetForLeaderEpochTopic",
    "OffsetForLeaderEpochTopicResult",
    "ProducePartition",
    "ProducePartitionResult",
    "ProduceRequest",
    "ProduceResponse",
    "ProduceTopic",
    "ProduceTopicResult",
    "RecordError",
]


@dataclass(frozen=True, slots=True)
class ProducePartition:
    partition: Int32
    records: NullableBytes


@dataclass(frozen=True, slots=True)
class ProduceTopic:
    name: String
    partitions: tuple[ProducePartition, ...]


@dataclass(frozen=True, slots=True)
class ProduceRequest:
    transactional_id: NullableString
    acks: Int16
    timeout_ms: Int32
    topics: tuple[ProduceTopic, ...]


@dataclass(frozen=True, slots=True)
class RecordError:
    batch_index: Int32
    message: NullableString


@dataclass(frozen=True, slots=True)
class ProducePartitionResult:
    partition: Int32
    error_code: Int16 = 0
    base_offset: Int64 = -1
    log_append_time_ms: Int64 = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    record_errors: Annotated[tuple[RecordError, ...], since(8)] = ()
    error_message: Annotated[NullableString, since(8)] = None


@dataclass(frozen=True, slots=True)
class ProduceTopicResult:
    name: String
    partitions: tuple[ProducePartitionResult, ...]


@dataclass(frozen=True, slots=True)
class ProduceResponse:
    topics: tuple[ProduceTopicResult, ...]
    throttle_time_ms: Int32 = 0


@dataclass(frozen=True, slots=True)
class FetchPartition:
    partition: Int32
    current_leader_epoch: Annotated[Int32, since(9)] = -1
    fetch_offset: Int64 = 0
    last_fetched_epoch: Annotated[Int32, since(12)] = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    max_bytes: Int32 = 0


@dataclass(frozen=True, slots=True)
class FetchTopic:
    name: Annotated[String, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: tuple[FetchPartition, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgottenTopic:
    name: Annotated[String, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: tuple[Int32, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchRequest:
    replica_id: Annotated[Int32, until(14)] = -1
    max_wait_ms: Int32 = 0
    min_bytes: Int32 = 0
    max_bytes: Int32 = 0x7FFFFFFF
    isolation_level: Int8 = 0
    session_id: Annotated[Int32, since(7)] = 0
    session_epoch: Annotated[Int32, since(7)] = -1
    topics: tuple[FetchTopic, ...] = ()
    forgotten_topics: Annotated[tuple[ForgottenTopic, ...], since(7)] = ()
    rack_id: Annotated[String, since(11)] = ""


@dataclass(frozen=True, slots=True)
class AbortedTransaction:
    producer_id: Int64
    first_offset: Int64


@dataclass(frozen=True, slots=True)
class FetchPartitionResult:
    partition: Int32
    error_code: Int16 = 0
    high_watermark: Int64 = -1
    last_stable_offset: Int64 = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    aborted_transactions: tuple[AbortedTransaction, ...] | None = None
    preferred_read_replica: Annotated[Int32, since(11)] = -1
    records: NullableBytes = b""


@dataclass(frozen=True, slots=True)
class FetchTopicResult:
    name: Annotated[String, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: tuple[FetchPartitionResult, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchResponse:
    throttle_time_ms: Int32 = 0
    error_code: Annotated[Int16, since(7)] = 0
    session_id: Annotated[Int32, since(7)] = 0
    topics: tuple[FetchTopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class ListOffsetsPartition:
    partition: Int32
    current_leader_epoch: Annotated[Int32, since(4)] = -1
    timestamp_ms: Int64 = 0


@dataclass(frozen=True, slots=True)
class ListOffsetsTopic:
    name: String
    partitions: tuple[ListOffsetsPartition, ...]


@dataclass(frozen=True, slots=True)
class ListOffsetsRequest:
    replica_id: Int32 = -1
    isolation_level: Annotated[Int8, since(2)] = 0
    topics: tuple[ListOffsetsTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class ListOffsetsPartitionResult:
    partition: Int32
    error_code: Int16 = 0
    timestamp_ms: Int64 = -1
    offset: Int64 = -1
    leader_epoch: Annotated[Int32, since(4)] = -1


@dataclass(frozen=True, slots=True)
class ListOffsetsTopicResult:
    name: String
    partitions: tuple[ListOffsetsPartitionResult, ...]


@dataclass(frozen=True, slots=True)
class ListOffsetsResponse:
    throttle_time_ms: Annotated[Int32, since(2)] = 0
    topics: tuple[ListOffsetsTopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteRecordsPartition:
    partition: Int32
    offset: Int64


@dataclass(frozen=True, slots=True)
class DeleteRecordsTopic:
    name: String
    partitions: tuple[DeleteRecordsPartition, ...]


@dataclass(frozen=True, slots=True)
class DeleteRecordsRequest:
    topics: tuple[DeleteRecordsTopic, ...]
    timeout_ms: Int32


@dataclass(frozen=True, slots=True)
class DeleteRecordsPartitionResult:
    partition: Int32
    low_watermark: Int64 = -1
    error_code: Int16 = 0


@dataclass(frozen=True, slots=True)
class DeleteRecordsTopicResult:
    name: String
    partitions: tuple[DeleteRecordsPartitionResult, ...]


@dataclass(frozen=True, slots=True)
class DeleteRecordsResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[DeleteRecordsTopicResult, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochPartition:
    partition: Int32
    current_leader_epoch: Int32
    leader_epoch: Int32


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochTopic:
    name: String
    partitions: tuple[OffsetForLeaderEpochPartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochRequest:
    replica_id: Annotated[Int32, since(3)] = -2
    topics: tuple[OffsetForLeaderEpochTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochPartitionResult:
    error_code: Int16
    partition: Int32
    leader_epoch: Int32 = -1
    end_offset: Int64 = -1


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochTopicResult:
    name: String
    partitions: tuple[OffsetForLeaderEpochPartitionResult, ...]


@dataclass(frozen=True, slots=True)
class OffsetForLeaderEpochResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[OffsetForLeaderEpochTopicResult, ...] = ()
