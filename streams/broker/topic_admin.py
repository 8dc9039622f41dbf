"""Creating, growing and deleting topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.messages_cluster import (
    CreatedConfig,
    CreatedTopic,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsResult,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeletedTopic,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
    NewTopic,
)
from batuta.streams.broker.state import NODE_ID, BrokerState, Call
from batuta.streams.broker.topic_configs import TOPIC_CONFIGS, value_is_legal

if TYPE_CHECKING:
    from batuta.streams.broker.topics import Topic

__all__ = ["create_partitions", "create_topics", "delete_topics"]

DEFAULT = -1
FROM_TOPIC, FROM_DEFAULT = 1, 5
FIRST_VERSION_WITH_STATES = 6


def create_topics(
    state: BrokerState, request: CreateTopicsRequest, _: Call
) -> CreateTopicsResponse:
    """Create topics with partitions and settings, or only check that this would work."""
    return CreateTopicsResponse(
        topics=tuple(
            _create_one(state, asked, validate_only=request.validate_only)
            for asked in request.topics
        )
    )


def _create_one(state: BrokerState, asked: NewTopic, *, validate_only: bool) -> CreatedTopic:
    error = state.topics.check(asked.name) or _check_shape(asked) or _check_configs(asked)
    if error:
        return CreatedTopic(asked.name, error_code=error, error_message=_explain(error, asked))
    count = _partition_count(state, asked)
    configs = {c.name: c.value for c in asked.configs if c.value is not None}
    if validate_only:
        return CreatedTopic(asked.name, partition_count=count, replication_factor=1)
    try:
        topic = state.topics.create(asked.name, count, configs)
    except DiskError as refusal:
        return CreatedTopic(
            asked.name, error_code=Code.KAFKA_STORAGE_ERROR, error_message=str(refusal)
        )
    return CreatedTopic(
        asked.name,
        topic.topic_id,
        partition_count=count,
        replication_factor=1,
        configs=_created_configs(topic),
    )


def _partition_count(state: BrokerState, asked: NewTopic) -> int:
    if asked.assignments:
        return len(asked.assignments)
    return (
        state.settings.partition_count
        if asked.partition_count == DEFAULT
        else asked.partition_count
    )


def _check_shape(asked: NewTopic) -> Code:
    if asked.assignments:
        return _check_assignments(asked)
    if asked.partition_count <= 0 and asked.partition_count != DEFAULT:
        return Code.INVALID_PARTITIONS
    if asked.replication_factor not in {DEFAULT, 1}:
        return Code.INVALID_REPLICATION_FACTOR
    return Code.NONE


def _check_assignments(asked: NewTopic) -> Code:
    if asked.partition_count != DEFAULT or asked.replication_factor != DEFAULT:
        return Code.INVALID_REQUEST
    numbers = sorted(a.partition for a in asked.assignments)
    all_here = all(a.broker_ids == (NODE_ID,) for a in asked.assignments)
    good = numbers == list(range(len(numbers))) and all_here
    return Code.NONE if good else Code.INVALID_REPLICA_ASSIGNMENT


def _check_configs(asked: NewTopic) -> Code:
    bad = any(c.value is None or not value_is_legal(c.name, c.value) for c in asked.configs)
    return Code.INVALID_CONFIG if bad else Code.NONE


def _explain(error: Code, asked: NewTopic) -> str:
    if error is Code.TOPIC_ALREADY_EXISTS:
        return f"Topic '{asked.name}' already exists."
    if error is Code.INVALID_REPLICATION_FACTOR:
        return f"Replication factor {asked.replication_factor} on a single node."
    return f"{error.name}: topic '{asked.name}' cannot be created like this."


def _created_configs(topic: Topic) -> tuple[CreatedConfig, ...]:
    return tuple(
        CreatedConfig(
            name, topic.config(name), source=FROM_TOPIC if name in topic.configs else FROM_DEFAULT
        )
        for name in TOPIC_CONFIGS
    )


def delete_topics(
    state: BrokerState, request: DeleteTopicsRequest, call: Call
) -> DeleteTopicsResponse:
    """Delete topics, named or by id."""
    if call.version < FIRST_VERSION_WITH_STATES:
        asked = tuple(DeleteTopicState(name, b"") for name in request.names)
    else:
        asked = request.topics
    return DeleteTopicsResponse(topics=tuple(_delete_one(state, topic) for topic in asked))


def _delete_one(state: BrokerState, asked: DeleteTopicState) -> DeletedTopic:
    if asked.name is None:
        topic, unknown = state.topics.get_by_id(asked.topic_id), Code.UNKNOWN_TOPIC_ID
    else:
        topic, unknown = state.topics.get(asked.name), Code.UNKNOWN_TOPIC_OR_PARTITION
    if topic is None:
        topic_id = asked.topic_id if asked.name is None else bytes(16)
        return DeletedTopic(asked.name, topic_id, unknown)
    try:
        state.topics.delete(topic)
    except DiskError:
        return DeletedTopic(topic.name, topic.topic_id, Code.KAFKA_STORAGE_ERROR)
    state.groups.forget_topic(topic.name)
    return DeletedTopic(topic.name, topic.topic_id)


def create_partitions(
    state: BrokerState, request: CreatePartitionsRequest, _: Call
) -> CreatePartitionsResponse:
    """Add partitions to topics."""
    return CreatePartitionsResponse(
        results=tuple(
            _grow_one(state, asked, validate_only=request.validate_only) for asked in request.topics
        )
    )


def _grow_one(
    state: BrokerState, asked: CreatePartitionsTopic, *, validate_only: bool
) -> CreatePartitionsResult:
    topic = state.topics.get(asked.name)
    if topic is None:
        return CreatePartitionsResult(asked.name, Code.UNKNOWN_TOPIC_OR_PARTITION)
    present = len(topic.partitions)
    if asked.count <= present:
        message = f"Topic currently has {present} partitions, {asked.count} would not be more."
        return CreatePartitionsResult(asked.name, Code.INVALID_PARTITIONS, message)
    if asked.assignments is not None and len(asked.assignments) != asked.count - present:
        return CreatePartitionsResult(asked.name, Code.INVALID_REPLICA_ASSIGNMENT)
    try:
        if not validate_only:
            state.topics.grow(topic, asked.count)
    except DiskError as refusal:
        return CreatePartitionsResult(asked.name, Code.KAFKA_STORAGE_ERROR, str(refusal))
    return CreatePartitionsResult(asked.name)
