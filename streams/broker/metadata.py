"""What clients ask first: which nodes there are, and which topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codec import NO_UUID
from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.messages_cluster import (
    BrokerAddress,
    ClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataPartition,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataTopic,
)
from batuta.streams.broker.state import NODE_ID, BrokerState, Call
from batuta.streams.broker.topics import name_is_legal

if TYPE_CHECKING:
    from batuta.streams.broker.topics import Topic

__all__ = ["describe_cluster", "metadata"]

NODES = (NODE_ID,)


def metadata(state: BrokerState, request: MetadataRequest, call: Call) -> MetadataResponse:
    """Name this node and the topics asked for, or all topics."""
    everything = request.topics is None or (call.version == 0 and not request.topics)
    if everything or request.topics is None:
        topics = tuple(_describe(topic) for topic in state.topics)
    else:
        create = state.settings.auto_create_topics and request.allow_auto_topic_creation
        topics = tuple(_look_up(state, asked, create=create) for asked in request.topics)
    return MetadataResponse(
        brokers=(BrokerAddress(NODE_ID, call.host, call.port),),
        cluster_id=state.cluster_id,
        controller_id=NODE_ID,
        topics=topics,
    )


def _look_up(state: BrokerState, asked: MetadataRequestTopic, *, create: bool) -> MetadataTopic:
    if asked.name is None:
        topic = state.topics.get_by_id(asked.topic_id)
        unknown = MetadataTopic(Code.UNKNOWN_TOPIC_ID, None, asked.topic_id)
        return _describe(topic) if topic else unknown
    topic = state.topics.get(asked.name)
    if topic is not None:
        return _describe(topic)
    if not name_is_legal(asked.name):
        return MetadataTopic(Code.INVALID_TOPIC, asked.name)
    if create:
        return _create(state, asked.name)
    return MetadataTopic(Code.UNKNOWN_TOPIC_OR_PARTITION, asked.name, NO_UUID)


def _create(state: BrokerState, name: str) -> MetadataTopic:
    try:
        return _describe(state.topics.create(name, state.settings.partition_count, {}))
    except DiskError:
        return MetadataTopic(Code.KAFKA_STORAGE_ERROR, name, NO_UUID)


def _describe(topic: Topic) -> MetadataTopic:
    partitions = tuple(
        MetadataPartition(Code.NONE, number, NODE_ID, replicas=NODES, in_sync_replicas=NODES)
        for number in range(len(topic.partitions))
    )
    return MetadataTopic(Code.NONE, topic.name, topic.topic_id, partitions=partitions)


def describe_cluster(
    state: BrokerState, _: DescribeClusterRequest, call: Call
) -> DescribeClusterResponse:
    """Name the cluster and its node."""
    return DescribeClusterResponse(
        cluster_id=state.cluster_id,
        controller_id=NODE_ID,
        brokers=(ClusterBroker(NODE_ID, call.host, call.port),),
    )
