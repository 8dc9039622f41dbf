"""Messages of consumer groups: FindCoordinator, the classic protocol, and their admin."""
# ruff: noqa: D101 - each message is described in the protocol guide of Apache Kafka

from dataclasses import dataclass
from typing import Annotated

from batuta.streams.broker.codec import (
    Boolean,
    Bytes,
    Int8,
    Int16,
    Int32,
    NullableString,
    String,
    since,
    until,
)

__all__ = [
    "Coordinator",
    "DeleteGroupResult",
    "DeleteGroupsRequest",
    "DeleteGroupsResponse",
    "DescribeGroupsRequest",
    "DescribeGroupsResponse",
    "DescribedGroup",
    "DescribedMember",
    "FindCoordinatorRequest",
    "FindCoordinatorResponse",
    "HeartbeatRequest",
    "HeartbeatResponse",
    "JoinGroupMember",
    "JoinGroupProtocol",
    "JoinGroupRequest",
    "JoinGroupResponse",
    "LeaveGroupMember",
    "LeaveGroupMemberResult",
    "LeaveGroupRequest",
    "LeaveGroupResponse",
    "ListGroupsRequest",
    "ListGroupsResponse",
    "ListedGroup",
    "SyncGroupAssignment",
    "SyncGroupRequest",
    "SyncGroupResponse",
]

NOT_ASKED = -2147483648


@dataclass(frozen=True, slots=True)
class FindCoordinatorRequest:
    key: Annotated[String, until(3)] = ""
    key_type: Annotated[Int8, since(1)] = 0
    keys: Annotated[tuple[String, ...], since(4)] = ()


@dataclass(frozen=True, slots=True)
class Coordinator:
    key: String
    node_id: Int32
    host: String
    port: Int32
    error_code: Int16 = 0
    error_message: NullableString = None


@dataclass(frozen=True, slots=True)
class FindCoordinatorResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Annotated[Int16, until(3)] = 0
    error_message: Annotated[NullableString, since(1, 3)] = None
    node_id: Annotated[Int32, until(3)] = -1
    host: Annotated[String, until(3)] = ""
    port: Annotated[Int32, until(3)] = -1
    coordinators: Annotated[tuple[Coordinator, ...], since(4)] = ()


@dataclass(frozen=True, slots=True)
class JoinGroupProtocol:
    name: String
    metadata: Bytes


@dataclass(frozen=True, slots=True)
class JoinGroupRequest:
    group_id: String
    session_timeout_ms: Int32
    rebalance_timeout_ms: Annotated[Int32, since(1)] = -1
    member_id: String = ""
    group_instance_id: Annotated[NullableString, since(5)] = None
    protocol_type: String = ""
    protocols: tuple[JoinGroupProtocol, ...] = ()
    reason: Annotated[NullableString, since(8)] = None


@dataclass(frozen=True, slots=True)
class JoinGroupMember:
    member_id: String
    group_instance_id: Annotated[NullableString, since(5)] = None
    metadata: Bytes = b""


@dataclass(frozen=True, slots=True)
class JoinGroupResponse:
    throttle_time_ms: Annotated[Int32, since(2)] = 0
    error_code: Int16 = 0
    generation_id: Int32 = -1
    protocol_type: Annotated[NullableString, since(7)] = None
    protocol_name: NullableString = ""
    leader: String = ""
    skip_assignment: Annotated[Boolean, since(9)] = False
    member_id: String = ""
    members: tuple[JoinGroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncGroupAssignment:
    member_id: String
    assignment: Bytes


@dataclass(frozen=True, slots=True)
class SyncGroupRequest:
    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: Annotated[NullableString, since(3)] = None
    protocol_type: Annotated[NullableString, since(5)] = None
    protocol_name: Annotated[NullableString, since(5)] = None
    assignments: tuple[SyncGroupAssignment, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncGroupResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0
    protocol_type: Annotated[NullableString, since(5)] = None
    protocol_name: Annotated[NullableString, since(5)] = None
    assignment: Bytes = b""


@dataclass(frozen=True, slots=True)
class HeartbeatRequest:
    group_id: String
    generation_id: Int32
    member_id: String
    group_instance_id: Annotated[NullableString, since(3)] = None


@dataclass(frozen=True, slots=True)
class HeartbeatResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0


@dataclass(frozen=True, slots=True)
class LeaveGroupMember:
    member_id: String
    group_instance_id: NullableString = None
    reason: Annotated[NullableString, since(5)] = None


@dataclass(frozen=True, slots=True)
class LeaveGroupRequest:
    group_id: String
    member_id: Annotated[String, until(2)] = ""
    members: Annotated[tuple[LeaveGroupMember, ...], since(3)] = ()


@dataclass(frozen=True, slots=True)
class LeaveGroupMemberResult:
    member_id: String
    group_instance_id: NullableString
    error_code: Int16


@dataclass(frozen=True, slots=True)
class LeaveGroupResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0
    members: Annotated[tuple[LeaveGroupMemberResult, ...], since(3)] = ()


@dataclass(frozen=True, slots=True)
class DescribeGroupsRequest:
    groups: tuple[String, ...]
    include_authorized_operations: Annotated[Boolean, since(3)] = False


@dataclass(frozen=True, slots=True)
class DescribedMember:
    member_id: String
    group_instance_id: Annotated[NullableString, since(4)] = None
    client_id: String = ""
    client_host: String = ""
    metadata: Bytes = b""
    assignment: Bytes = b""


@dataclass(frozen=True, slots=True)
class DescribedGroup:
    error_code: Int16
    error_message: Annotated[NullableString, since(6)] = None
    group_id: String = ""
    group_state: String = ""
    protocol_type: String = ""
    protocol_data: String = ""
    members: tuple[DescribedMember, ...] = ()
    authorized_operations: Annotated[Int32, since(3)] = NOT_ASKED


@dataclass(frozen=True, slots=True)
class DescribeGroupsResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    groups: tuple[DescribedGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class ListGroupsRequest:
    states: Annotated[tuple[String, ...], since(4)] = ()
    types: Annotated[tuple[String, ...], since(5)] = ()


@dataclass(frozen=True, slots=True)
class ListedGroup:
    group_id: String
    protocol_type: String
    group_state: Annotated[String, since(4)] = ""
    group_type: Annotated[String, since(5)] = ""


@dataclass(frozen=True, slots=True)
class ListGroupsResponse:
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0
    groups: tuple[ListedGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteGroupsRequest:
    groups: tuple[String, ...]


@dataclass(frozen=True, slots=True)
class DeleteGroupResult:
    group_id: String
    error_code: Int16


@dataclass(frozen=True, slots=True)
class DeleteGroupsResponse:
    throttle_time_ms: Int32 = 0
    results: tuple[DeleteGroupResult, ...] = ()
