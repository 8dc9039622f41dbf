"""The table of what this broker can do: each API, its versions, its messages, its handler.

The ranges are what Apache Kafka 4.1 and our clients have in common: the lower ends are Kafka's,
the upper ends those of the newest client we answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from batuta.streams.broker import messages_cluster as cluster
from batuta.streams.broker import messages_groups as groups
from batuta.streams.broker import messages_offsets as offset_messages
from batuta.streams.broker import messages_records as records
from batuta.streams.broker import messages_transactions as txn
from batuta.streams.broker.codec import Codec
from batuta.streams.broker.config_admin import (
    alter_configs,
    describe_configs,
    incremental_alter_configs,
)
from batuta.streams.broker.fetch import fetch
from batuta.streams.broker.group_api import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    sync_group,
)
from batuta.streams.broker.metadata import describe_cluster, metadata
from batuta.streams.broker.offset_lookup import (
    delete_records,
    list_offsets,
    offset_for_leader_epoch,
)
from batuta.streams.broker.offsets import (
    offset_commit,
    offset_delete,
    offset_fetch,
    txn_offset_commit,
)
from batuta.streams.broker.produce import produce
from batuta.streams.broker.topic_admin import create_partitions, create_topics, delete_topics
from batuta.streams.broker.transaction_api import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    end_txn,
    init_producer_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.state import BrokerState, Call

    Handler = Callable[[BrokerState, object, Call], object]

__all__ = ["APIS", "API_VERSIONS_KEY", "Api", "api_versions"]

API_VERSIONS_KEY = 18
PRODUCE_KEY = 0
NEVER = 1 << 15


@dataclass(frozen=True, slots=True)
class Api:
    """One API of the protocol.

    Attributes:
        key: its number.
        versions: the first and the last that are answered.
        flexible_since: the first version with compact lengths and tagged fields.
        handle: turns a request into its response, now or later.
    """

    key: int
    name: str
    versions: tuple[int, int]
    flexible_since: int
    request: type[object]
    response: type[object]
    handle: Handler
    _codecs: dict[tuple[type[object], int], Codec[object]] = field(
        default_factory=dict[tuple[type[object], int], Codec[object]], repr=False, compare=False
    )

    @property
    def advertised_since(self) -> int:
        """The first version that is advertised.

        Produce claims versions it refuses, as Apache Kafka does: older librdkafka compresses only
        for brokers that say so (KAFKA-18659).
        """
        return 0 if self.key == PRODUCE_KEY else self.versions[0]

    def speaks(self, version: int) -> bool:
        """Whether a version is answered."""
        return self.versions[0] <= version <= self.versions[1]

    def is_flexible(self, version: int) -> bool:
        """Whether a version has compact lengths and tagged fields."""
        return version >= self.flexible_since

    def request_codec(self, version: int) -> Codec[object]:
        """How a request of that version is read."""
        return self._codec(self.request, version)

    def response_codec(self, version: int) -> Codec[object]:
        """How a response of that version is written."""
        return self._codec(self.response, version)

    def _codec(self, message: type[object], version: int) -> Codec[object]:
        codec = self._codecs.get((message, version))
        if codec is None:
            codec = Codec(message, version, flexible=self.is_flexible(version))
            self._codecs[message, version] = codec
        return codec


def api_versions(
    _: BrokerState, __: cluster.ApiVersionsRequest, ___: Call
) -> cluster.ApiVersionsResponse:
    """Tell what this broker can do."""
    return cluster.ApiVersionsResponse(
        api_keys=tuple(
            cluster.ApiVersion(api.key, api.advertised_since, api.versions[1])
            for api in APIS.values()
        )
    )


def _table(
    *rows: tuple[int, str, tuple[int, int], int, tuple[object, object, object]],
) -> dict[int, Api]:
    return {
        key: Api(
            key,
            name,
            versions,
            flexible_since,
            cast("type[object]", request),
            cast("type[object]", response),
            cast("Handler", handle),
        )
        for key, name, versions, flexible_since, (request, response, handle) in rows
    }


# fmt: off
APIS: dict[int, Api] = _table(
    (PRODUCE_KEY, "Produce", (3, 10), 9,
     (records.ProduceRequest, records.ProduceResponse, produce)),
    (1, "Fetch", (4, 16), 12, (records.FetchRequest, records.FetchResponse, fetch)),
    (2, "ListOffsets", (1, 8), 6,
     (records.ListOffsetsRequest, records.ListOffsetsResponse, list_offsets)),
    (3, "Metadata", (0, 13), 9, (cluster.MetadataRequest, cluster.MetadataResponse, metadata)),
    (8, "OffsetCommit", (2, 9), 8,
     (offset_messages.OffsetCommitRequest, offset_messages.OffsetCommitResponse, offset_commit)),
    (9, "OffsetFetch", (1, 9), 6,
     (offset_messages.OffsetFetchRequest, offset_messages.OffsetFetchResponse, offset_fetch)),
    (10, "FindCoordinator", (0, 5), 3,
     (groups.FindCoordinatorRequest, groups.FindCoordinatorResponse, find_coordinator)),
    (11, "JoinGroup", (0, 9), 6, (groups.JoinGroupRequest, groups.JoinGroupResponse, join_group)),
    (12, "Heartbeat", (0, 4), 4, (groups.HeartbeatRequest, groups.HeartbeatResponse, heartbeat)),
    (13, "LeaveGroup", (0, 5), 4,
     (groups.LeaveGroupRequest, groups.LeaveGroupResponse, leave_group)),
    (14, "SyncGroup", (0, 5), 4, (groups.SyncGroupRequest, groups.SyncGroupResponse, sync_group)),
    (15, "DescribeGroups", (0, 5), 5,
     (groups.DescribeGroupsRequest, groups.DescribeGroupsResponse, describe_groups)),
    (16, "ListGroups", (0, 5), 3,
     (groups.ListGroupsRequest, groups.ListGroupsResponse, list_groups)),
    (API_VERSIONS_KEY, "ApiVersions", (0, 3), 3,
     (cluster.ApiVersionsRequest, cluster.ApiVersionsResponse, api_versions)),
    (19, "CreateTopics", (2, 7), 5,
     (cluster.CreateTopicsRequest, cluster.CreateTopicsResponse, create_topics)),
    (20, "DeleteTopics", (1, 6), 4,
     (cluster.DeleteTopicsRequest, cluster.DeleteTopicsResponse, delete_topics)),
    (21, "DeleteRecords", (0, 2), 2,
     (records.DeleteRecordsRequest, records.DeleteRecordsResponse, delete_records)),
    (22, "InitProducerId", (0, 4), 2,
     (txn.InitProducerIdRequest, txn.InitProducerIdResponse, init_producer_id)),
    (23, "OffsetForLeaderEpoch", (2, 4), 4,
     (records.OffsetForLeaderEpochRequest, records.OffsetForLeaderEpochResponse,
      offset_for_leader_epoch)),
    (24, "AddPartitionsToTxn", (0, 3), 3,
     (txn.AddPartitionsToTxnRequest, txn.AddPartitionsToTxnResponse, add_partitions_to_txn)),
    (25, "AddOffsetsToTxn", (0, 3), 3,
     (txn.AddOffsetsToTxnRequest, txn.AddOffsetsToTxnResponse, add_offsets_to_txn)),
    (26, "EndTxn", (0, 3), 3, (txn.EndTxnRequest, txn.EndTxnResponse, end_txn)),
    (28, "TxnOffsetCommit", (0, 3), 3,
     (offset_messages.TxnOffsetCommitRequest, offset_messages.TxnOffsetCommitResponse,
      txn_offset_commit)),
    (32, "DescribeConfigs", (1, 4), 4,
     (cluster.DescribeConfigsRequest, cluster.DescribeConfigsResponse, describe_configs)),
    (33, "AlterConfigs", (0, 2), 2,
     (cluster.AlterConfigsRequest, cluster.AlterConfigsResponse, alter_configs)),
    (37, "CreatePartitions", (0, 3), 2,
     (cluster.CreatePartitionsRequest, cluster.CreatePartitionsResponse, create_partitions)),
    (42, "DeleteGroups", (0, 2), 2,
     (groups.DeleteGroupsRequest, groups.DeleteGroupsResponse, delete_groups)),
    (44, "IncrementalAlterConfigs", (0, 1), 1,
     (cluster.IncrementalAlterConfigsRequest, cluster.AlterConfigsResponse,
      incremental_alter_configs)),
    (47, "OffsetDelete", (0, 0), NEVER,
     (offset_messages.OffsetDeleteRequest, offset_messages.OffsetDeleteResponse, offset_delete)),
    (60, "DescribeCluster", (0, 1), 0,
     (cluster.DescribeClusterRequest, cluster.DescribeClusterResponse, describe_cluster)),
)
# fmt: on
