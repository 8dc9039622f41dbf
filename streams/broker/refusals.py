"""Answers that refuse a whole call with one error code, as an injected fault wants them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, cast

from batuta.streams.broker.messages_cluster import CreatedTopic, CreateTopicsRequest
from batuta.streams.broker.messages_groups import Coordinator, FindCoordinatorRequest
from batuta.streams.broker.messages_offsets import (
    OffsetCommitRequest,
    PartitionError,
    TopicErrors,
    TxnOffsetCommitRequest,
)
from batuta.streams.broker.messages_records import (
    FetchPartitionResult,
    FetchRequest,
    FetchTopicResult,
    ListOffsetsPartitionResult,
    ListOffsetsRequest,
    ListOffsetsTopicResult,
    ProducePartitionResult,
    ProduceRequest,
    ProduceTopicResult,
)
from batuta.streams.broker.messages_transactions import AddPartitionsToTxnRequest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["refuse"]


def refuse(request: object, response: type[object], code: int) -> object:
    """Answer `code` wherever this API has room for one.

    Args:
        request: the call that is refused.
        response: the class of its answer.
        code: the error code.
    """
    build = cast("type[DataclassInstance]", response)
    names = {field.name for field in fields(build)}
    built = build(**_parts(request, code))
    if "error_code" in names:
        built = replace(built, error_code=code)
    return built


def _parts(request: object, code: int) -> dict[str, object]:
    """The parts of an answer that name an error for each part of the request."""
    match request:
        case ProduceRequest() | FetchRequest() | ListOffsetsRequest():
            return {"topics": _record_errors(request, code)}
        case OffsetCommitRequest() | TxnOffsetCommitRequest():
            return {"topics": _commit_errors(request, code)}
        case AddPartitionsToTxnRequest():
            return {
                "topics": tuple(
                    TopicErrors(t.name, tuple(PartitionError(n, code) for n in t.partitions))
                    for t in request.topics
                )
            }
        case CreateTopicsRequest():
            return {"topics": tuple(CreatedTopic(t.name, error_code=code) for t in request.topics)}
        case FindCoordinatorRequest():
            return {"coordinators": tuple(Coordinator(k, -1, "", -1, code) for k in request.keys)}
        case _:
            return {}


def _commit_errors(
    request: OffsetCommitRequest | TxnOffsetCommitRequest, code: int
) -> tuple[TopicErrors, ...]:
    return tuple(
        TopicErrors(t.name, tuple(PartitionError(p.partition, code) for p in t.partitions))
        for t in request.topics
    )


def _record_errors(
    request: ProduceRequest | FetchRequest | ListOffsetsRequest, code: int
) -> tuple[object, ...]:
    if isinstance(request, ProduceRequest):
        return tuple(
            ProduceTopicResult(
                t.name, tuple(ProducePartitionResult(p.partition, code) for p in t.partitions)
            )
            for t in request.topics
        )
    if isinstance(request, FetchRequest):
        return tuple(
            FetchTopicResult(
                t.name,
                t.topic_id,
                tuple(FetchPartitionResult(p.partition, code) for p in t.partitions),
            )
            for t in request.topics
        )
    return tuple(
        ListOffsetsTopicResult(
            t.name, tuple(ListOffsetsPartitionResult(p.partition, code) for p in t.partitions)
        )
        for t in request.topics
    )
