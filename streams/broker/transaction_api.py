"""The calls of transactional producers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.messages_offsets import PartitionError, TopicErrors
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.transactions import ProducerIdentity

if TYPE_CHECKING:
    from batuta.streams.broker.state import BrokerState, Call

__all__ = ["add_offsets_to_txn", "add_partitions_to_txn", "end_txn", "init_producer_id"]

FIRST_VERSION_WITH_FENCED = 2
FIRST_INIT_VERSION_WITH_FENCED = 4


def _said_to(version: int, code: Code, first_version: int = FIRST_VERSION_WITH_FENCED) -> Code:
    """Older versions know PRODUCER_FENCED by another code."""
    if code is Code.PRODUCER_FENCED and version < first_version:
        return Code.INVALID_PRODUCER_EPOCH
    return code


def init_producer_id(
    state: BrokerState, request: InitProducerIdRequest, call: Call
) -> InitProducerIdResponse:
    """Give a producer its id and epoch."""
    identity = state.transactions.init_producer(
        request.transactional_id,
        request.transaction_timeout_ms,
        ProducerIdentity(request.producer_id, request.producer_epoch),
    )
    code = _said_to(call.version, identity.error, FIRST_INIT_VERSION_WITH_FENCED)
    return InitProducerIdResponse(0, code, identity.producer_id, identity.epoch)


def add_partitions_to_txn(
    state: BrokerState, request: AddPartitionsToTxnRequest, call: Call
) -> AddPartitionsToTxnResponse:
    """Make partitions part of a transaction: all of them, or none where one is unknown."""
    keys = [(topic.name, number) for topic in request.topics for number in topic.partitions]
    unknown = {key for key in keys if state.topics.partition(*key) is None}
    owner = ProducerIdentity(request.producer_id, request.producer_epoch)
    code = Code.OPERATION_NOT_ATTEMPTED
    if not unknown:
        added = state.transactions.add_partitions(request.transactional_id, owner, keys)
        code = _said_to(call.version, added)

    def answer(name: str, number: int) -> PartitionError:
        missing = (name, number) in unknown
        return PartitionError(number, Code.UNKNOWN_TOPIC_OR_PARTITION if missing else code)

    return AddPartitionsToTxnResponse(
        topics=tuple(
            TopicErrors(topic.name, tuple(answer(topic.name, n) for n in topic.partitions))
            for topic in request.topics
        )
    )


def add_offsets_to_txn(
    state: BrokerState, request: AddOffsetsToTxnRequest, call: Call
) -> AddOffsetsToTxnResponse:
    """Make a group's offsets part of a transaction."""
    owner = ProducerIdentity(request.producer_id, request.producer_epoch)
    code = state.transactions.add_offsets(request.transactional_id, owner, request.group_id)
    return AddOffsetsToTxnResponse(error_code=_said_to(call.version, code))


def end_txn(state: BrokerState, request: EndTxnRequest, call: Call) -> EndTxnResponse:
    """Commit or abort a transaction."""
    owner = ProducerIdentity(request.producer_id, request.producer_epoch)
    code = state.transactions.end(request.transactional_id, owner, commit=request.committed)
    return EndTxnResponse(error_code=_said_to(call.version, code))
