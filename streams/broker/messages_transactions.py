"""Messages of transactions: producer ids, partitions, offsets, the end."""
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
)
from batuta.streams.broker.messages_offsets import TopicErrors, TopicPartitions

__all__ = [
    "AddOffsetsToTxnRequest",
    "AddOffsetsToTxnResponse",
    "AddPartitionsToTxnRequest",
    "AddPartitionsToTxnResponse",
    "EndTxnRequest",
    "EndTxnResponse",
    "InitProducerIdRequest",
    "InitProducerIdResponse",
]


@dataclass(frozen=True, slots=True)
class InitProducerIdRequest:
    transactional_id: NullableString
    transaction_timeout_ms: Int32
    producer_id: Annotated[Int64, since(3)] = -1
    producer_epoch: Annotated[Int16, since(3)] = -1


@dataclass(frozen=True, slots=True)
class InitProducerIdResponse:
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Int64 = -1
    producer_epoch: Int16 = -1


@dataclass(frozen=True, slots=True)
class AddPartitionsToTxnRequest:
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    topics: tuple[TopicPartitions, ...]


@dataclass(frozen=True, slots=True)
class AddPartitionsToTxnResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[TopicErrors, ...] = ()


@dataclass(frozen=True, slots=True)
class AddOffsetsToTxnRequest:
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    group_id: String


@dataclass(frozen=True, slots=True)
class AddOffsetsToTxnResponse:
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0


@dataclass(frozen=True, slots=True)
class EndTxnRequest:
    transactional_id: String
    producer_id: Int64
    producer_epoch: Int16
    committed: Boolean


@dataclass(frozen=True, slots=True)
class EndTxnResponse:
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
