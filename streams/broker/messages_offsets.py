"""Messages of committed offsets: OffsetCommit, OffsetFetch, TxnOffsetCommit, OffsetDelete."""
# ruff: noqa: D101 - each message is described in the protocol guide of Apache Kafka

from dataclasses import dataclass
from typing import Annotated

from batuta.streams.broker.codec import (
    Boolean,
    Int16,
    Int32,
    Int64,
    NullableString,
    String,
    since,
    until,
)

__all__ = [
    "CommitPartition",
    "CommitTopic",
    "FetchedGroup",
    "FetchedPartition",
    "FetchedTopic",
    "OffsetCommitRequest",
    "OffsetCommitResponse",
    "OffsetDeleteRequest",
    "OffsetDeleteResponse",
    "OffsetFetchGroup",
    "OffsetFetchRequest",
    "OffsetFetchResponse",
    "PartitionError",
    "TopicErrors",
    "TopicPartitions",
    "TxnCommitPartition",
    "TxnCommitTopic",
    "TxnOffsetCommitRequest",
    "TxnOffsetCommitResponse",
]


@dataclass(frozen=True, slots=True)
class PartitionError:
    partition: Int32
    error_code: Int16


@dataclass(frozen=True, slots=True)
class TopicErrors:
    name: String
    partitions: tuple[PartitionError, ...]


@dataclass(frozen=True, slots=True)
class TopicPartitions:
    name: String
    partitions: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class CommitPartition:
    partition: Int32
    offset: Int64
    leader_epoch: Annotated[Int32, since(6)] = -1
    metadata: NullableString = None


@dataclass(frozen=True, slots=True)
class CommitTopic:
    name: String
    partitions: tuple[CommitPartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetCommitRequest:
    group_id: String
    generation_id: Int32 = -1
    member_id: String = ""
    group_instance_id: Annotated[NullableString, since(7)] = None
    retention_time_ms: Annotated[Int64, since(2, 4)] = -1
    topics: tuple[CommitTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetCommitResponse:
    throttle_time_ms: Annotated[Int32, since(3)] = 0
    topics: tuple[TopicErrors, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetFetchGroup:
    group_id: String
    member_id: Annotated[NullableString, since(9)] = None
    member_epoch: Annotated[Int32, since(9)] = -1
    topics: tuple[TopicPartitions, ...] | None = None


@dataclass(frozen=True, slots=True)
class OffsetFetchRequest:
    group_id: Annotated[String, until(7)] = ""
    topics: Annotated[tuple[TopicPartitions, ...] | None, until(7)] = None
    groups: Annotated[tuple[OffsetFetchGroup, ...], since(8)] = ()
    require_stable: Annotated[Boolean, since(7)] = False


@dataclass(frozen=True, slots=True)
class FetchedPartition:
    partition: Int32
    offset: Int64 = -1
    leader_epoch: Annotated[Int32, since(5)] = -1
    metadata: NullableString = ""
    error_code: Int16 = 0


@dataclass(frozen=True, slots=True)
class FetchedTopic:
    name: String
    partitions: tuple[FetchedPartition, ...]


@dataclass(frozen=True, slots=True)
class FetchedGroup:
    group_id: String
    topics: tuple[FetchedTopic, ...] = ()
    error_code: Int16 = 0


@dataclass(frozen=True, slots=True)
class OffsetFetchResponse:
    throttle_time_ms: Annotated[Int32, since(3)] = 0
    topics: Annotated[tuple[FetchedTopic, ...], until(7)] = ()
    error_code: Annotated[Int16, since(2, 7)] = 0
    groups: Annotated[tuple[FetchedGroup, ...], since(8)] = ()


@dataclass(frozen=True, slots=True)
class TxnCommitPartition:
    partition: Int32
    offset: Int64
    leader_epoch: Annotated[Int32, since(2)] = -1
    metadata: NullableString = None


@dataclass(frozen=True, slots=True)
class TxnCommitTopic:
    name: String
    partitions: tuple[TxnCommitPartition, ...]


@dataclass(frozen=True, slots=True)
class TxnOffsetCommitRequest:
    transactional_id: String
    group_id: String
    producer_id: Int64
    producer_epoch: Int16
    generation_id: Annotated[Int32, since(3)] = -1
    member_id: Annotated[String, since(3)] = ""
    group_instance_id: Annotated[NullableString, since(3)] = None
    topics: tuple[TxnCommitTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class TxnOffsetCommitResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[TopicErrors, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetDeletePartition:
    partition: Int32


@dataclass(frozen=True, slots=True)
class OffsetDeleteTopic:
    name: String
    partitions: tuple[OffsetDeletePartition, ...]


@dataclass(frozen=True, slots=True)
class OffsetDeleteRequest:
    group_id: String
    topics: tuple[OffsetDeleteTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class OffsetDeleteResponse:
    error_code: Int16 = 0
    throttle_time_ms: Int32 = 0
    topics: tuple[TopicErrors, ...] = ()
