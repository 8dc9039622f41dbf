"""Messages about the cluster and its topics: ApiVersions, Metadata, topics, configurations."""
# ruff: noqa: D101 - each message is described in the protocol guide of Apache Kafka

from dataclasses import dataclass
from typing import Annotated

from batuta.streams.broker.codec import (
    NO_UUID,
    Boolean,
    Int8,
    Int16,
    Int32,
    NullableString,
    String,
    Uuid,
    since,
    until,
)

__all__ = [
    "AlterConfigsRequest",
    "AlterConfigsResource",
    "AlterConfigsResponse",
    "AlterConfigsResult",
    "AlterableConfig",
    "ApiVersion",
    "ApiVersionsRequest",
    "ApiVersionsResponse",
    "BrokerAddress",
    "ClusterBroker",
    "ConfigEntry",
    "ConfigSynonym",
    "CreatePartitionsAssignment",
    "CreatePartitionsRequest",
    "CreatePartitionsResponse",
    "CreatePartitionsResult",
    "CreatePartitionsTopic",
    "CreateTopicsRequest",
    "CreateTopicsResponse",
    "CreatedConfig",
    "CreatedTopic",
    "DeleteTopicState",
    "DeleteTopicsRequest",
    "DeleteTopicsResponse",
    "DeletedTopic",
    "DescribeClusterRequest",
    "DescribeClusterResponse",
    "DescribeConfigsRequest",
    "DescribeConfigsResource",
    "DescribeConfigsResponse",
    "DescribeConfigsResult",
    "IncrementalAlterConfigsRequest",
    "IncrementalAlterConfigsResource",
    "IncrementalConfig",
    "MetadataPartition",
    "MetadataRequest",
    "MetadataRequestTopic",
    "MetadataResponse",
    "MetadataTopic",
    "NewTopic",
    "NewTopicAssignment",
    "NewTopicConfig",
]

NOT_ASKED = -2147483648


@dataclass(frozen=True, slots=True)
class ApiVersionsRequest:
    client_software_name: Annotated[String, since(3)] = ""
    client_software_version: Annotated[String, since(3)] = ""


@dataclass(frozen=True, slots=True)
class ApiVersion:
    api_key: Int16
    min_version: Int16
    max_version: Int16


@dataclass(frozen=True, slots=True)
class ApiVersionsResponse:
    error_code: Int16 = 0
    api_keys: tuple[ApiVersion, ...] = ()
    throttle_time_ms: Annotated[Int32, since(1)] = 0


@dataclass(frozen=True, slots=True)
class MetadataRequestTopic:
    topic_id: Annotated[Uuid, since(10)] = NO_UUID
    name: NullableString = None


@dataclass(frozen=True, slots=True)
class MetadataRequest:
    topics: tuple[MetadataRequestTopic, ...] | None = None
    allow_auto_topic_creation: Annotated[Boolean, since(4)] = True
    include_cluster_operations: Annotated[Boolean, since(8, 10)] = False
    include_topic_operations: Annotated[Boolean, since(8)] = False


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    node_id: Int32
    host: String
    port: Int32
    rack: Annotated[NullableString, since(1)] = None


@dataclass(frozen=True, slots=True)
class MetadataPartition:
    error_code: Int16
    partition: Int32
    leader: Int32
    leader_epoch: Annotated[Int32, since(7)] = 0
    replicas: tuple[Int32, ...] = ()
    in_sync_replicas: tuple[Int32, ...] = ()
    offline_replicas: Annotated[tuple[Int32, ...], since(5)] = ()


@dataclass(frozen=True, slots=True)
class MetadataTopic:
    error_code: Int16
    name: NullableString
    topic_id: Annotated[Uuid, since(10)] = NO_UUID
    is_internal: Annotated[Boolean, since(1)] = False
    partitions: tuple[MetadataPartition, ...] = ()
    authorized_operations: Annotated[Int32, since(8)] = NOT_ASKED


@dataclass(frozen=True, slots=True)
class MetadataResponse:
    throttle_time_ms: Annotated[Int32, since(3)] = 0
    brokers: tuple[BrokerAddress, ...] = ()
    cluster_id: Annotated[NullableString, since(2)] = None
    controller_id: Annotated[Int32, since(1)] = -1
    topics: tuple[MetadataTopic, ...] = ()
    cluster_authorized_operations: Annotated[Int32, since(8, 10)] = NOT_ASKED
    error_code: Annotated[Int16, since(13)] = 0


@dataclass(frozen=True, slots=True)
class NewTopicAssignment:
    partition: Int32
    broker_ids: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class NewTopicConfig:
    name: String
    value: NullableString


@dataclass(frozen=True, slots=True)
class NewTopic:
    name: String
    partition_count: Int32
    replication_factor: Int16
    assignments: tuple[NewTopicAssignment, ...] = ()
    configs: tuple[NewTopicConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateTopicsRequest:
    topics: tuple[NewTopic, ...]
    timeout_ms: Int32 = 60000
    validate_only: Boolean = False


@dataclass(frozen=True, slots=True)
class CreatedConfig:
    name: String
    value: NullableString
    read_only: Boolean = False
    source: Int8 = -1
    is_sensitive: Boolean = False


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    name: String
    topic_id: Annotated[Uuid, since(7)] = NO_UUID
    error_code: Int16 = 0
    error_message: NullableString = None
    partition_count: Annotated[Int32, since(5)] = -1
    replication_factor: Annotated[Int16, since(5)] = -1
    configs: Annotated[tuple[CreatedConfig, ...] | None, since(5)] = None


@dataclass(frozen=True, slots=True)
class CreateTopicsResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[CreatedTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteTopicState:
    name: NullableString
    topic_id: Uuid


@dataclass(frozen=True, slots=True)
class DeleteTopicsRequest:
    topics: Annotated[tuple[DeleteTopicState, ...], since(6)] = ()
    names: Annotated[tuple[String, ...], until(5)] = ()
    timeout_ms: Int32 = 0


@dataclass(frozen=True, slots=True)
class DeletedTopic:
    name: NullableString
    topic_id: Annotated[Uuid, since(6)] = NO_UUID
    error_code: Int16 = 0
    error_message: Annotated[NullableString, since(5)] = None


@dataclass(frozen=True, slots=True)
class DeleteTopicsResponse:
    throttle_time_ms: Int32 = 0
    topics: tuple[DeletedTopic, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatePartitionsAssignment:
    broker_ids: tuple[Int32, ...]


@dataclass(frozen=True, slots=True)
class CreatePartitionsTopic:
    name: String
    count: Int32
    assignments: tuple[CreatePartitionsAssignment, ...] | None = None


@dataclass(frozen=True, slots=True)
class CreatePartitionsRequest:
    topics: tuple[CreatePartitionsTopic, ...]
    timeout_ms: Int32
    validate_only: Boolean


@dataclass(frozen=True, slots=True)
class CreatePartitionsResult:
    name: String
    error_code: Int16 = 0
    error_message: NullableString = None


@dataclass(frozen=True, slots=True)
class CreatePartitionsResponse:
    throttle_time_ms: Int32 = 0
    results: tuple[CreatePartitionsResult, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeConfigsResource:
    resource_type: Int8
    resource_name: String
    keys: tuple[String, ...] | None = None


@dataclass(frozen=True, slots=True)
class DescribeConfigsRequest:
    resources: tuple[DescribeConfigsResource, ...]
    include_synonyms: Boolean = False
    include_documentation: Annotated[Boolean, since(3)] = False


@dataclass(frozen=True, slots=True)
class ConfigSynonym:
    name: String
    value: NullableString
    source: Int8


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    name: String
    value: NullableString
    read_only: Boolean = False
    source: Int8 = -1
    is_sensitive: Boolean = False
    synonyms: tuple[ConfigSynonym, ...] = ()
    config_type: Annotated[Int8, since(3)] = 0
    documentation: Annotated[NullableString, since(3)] = None


@dataclass(frozen=True, slots=True)
class DescribeConfigsResult:
    error_code: Int16
    error_message: NullableString
    resource_type: Int8
    resource_name: String
    configs: tuple[ConfigEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeConfigsResponse:
    throttle_time_ms: Int32 = 0
    results: tuple[DescribeConfigsResult, ...] = ()


@dataclass(frozen=True, slots=True)
class AlterableConfig:
    name: String
    value: NullableString


@dataclass(frozen=True, slots=True)
class AlterConfigsResource:
    resource_type: Int8
    resource_name: String
    configs: tuple[AlterableConfig, ...]


@dataclass(frozen=True, slots=True)
class AlterConfigsRequest:
    resources: tuple[AlterConfigsResource, ...]
    validate_only: Boolean = False


@dataclass(frozen=True, slots=True)
class IncrementalConfig:
    name: String
    operation: Int8
    value: NullableString


@dataclass(frozen=True, slots=True)
class IncrementalAlterConfigsResource:
    resource_type: Int8
    resource_name: String
    configs: tuple[IncrementalConfig, ...]


@dataclass(frozen=True, slots=True)
class IncrementalAlterConfigsRequest:
    resources: tuple[IncrementalAlterConfigsResource, ...]
    validate_only: Boolean = False


@dataclass(frozen=True, slots=True)
class AlterConfigsResult:
    error_code: Int16
    error_message: NullableString
    resource_type: Int8
    resource_name: String


@dataclass(frozen=True, slots=True)
class AlterConfigsResponse:
    throttle_time_ms: Int32 = 0
    results: tuple[AlterConfigsResult, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribeClusterRequest:
    include_cluster_operations: Boolean = False
    endpoint_type: Annotated[Int8, since(1)] = 1
    include_fenced_brokers: Annotated[Boolean, since(2)] = False


@dataclass(frozen=True, slots=True)
class ClusterBroker:
    node_id: Int32
    host: String
    port: Int32
    rack: NullableString = None
    is_fenced: Annotated[Boolean, since(2)] = False


@dataclass(frozen=True, slots=True)
class DescribeClusterResponse:
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: NullableString = None
    endpoint_type: Annotated[Int8, since(1)] = 1
    cluster_id: String = ""
    controller_id: Int32 = -1
    brokers: tuple[ClusterBroker, ...] = ()
    cluster_authorized_operations: Int32 = NOT_ASKED
