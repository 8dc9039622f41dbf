"""The calls of the classic group protocol, and those that look at groups from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.group import Group, GroupState
from batuta.streams.broker.groups import Claim, Joiner
from batuta.streams.broker.messages_groups import (
    Coordinator,
    DeleteGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribedGroup,
    DescribedMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupMember,
    LeaveGroupMemberResult,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListedGroup,
    ListGroupsRequest,
    ListGroupsResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.state import NODE_ID, BrokerState, Call

if TYPE_CHECKING:
    from batuta.streams.broker.pending import Pending

__all__ = [
    "delete_groups",
    "describe_groups",
    "find_coordinator",
    "heartbeat",
    "join_group",
    "leave_group",
    "list_groups",
    "sync_group",
]

GROUP_KEY, TRANSACTION_KEY = 0, 1
FIRST_VERSION_WITH_MEMBER_ID = 4
FIRST_VERSION_WITH_SKIPPING = 9
FIRST_VERSION_WITH_MANY_LEAVERS = 3
FIRST_VERSION_WITH_MANY_KEYS = 4
FIRST_VERSION_WITH_NOT_FOUND = 6


def find_coordinator(
    _: BrokerState, request: FindCoordinatorRequest, call: Call
) -> FindCoordinatorResponse:
    """Answer this node, whoever asks for what."""
    error = Code.NONE if request.key_type in {GROUP_KEY, TRANSACTION_KEY} else Code.INVALID_REQUEST
    node_id, host, port = (-1, "", -1) if error else (NODE_ID, call.host, call.port)
    if call.version >= FIRST_VERSION_WITH_MANY_KEYS:
        found = tuple(Coordinator(key, node_id, host, port, error) for key in request.keys)
        return FindCoordinatorResponse(coordinators=found)
    return FindCoordinatorResponse(0, error, None, node_id, host, port)


def join_group(
    state: BrokerState, request: JoinGroupRequest, call: Call
) -> JoinGroupResponse | Pending[JoinGroupResponse]:
    """Join a group; the answer may take until all its members have."""
    must_know_id = call.version >= FIRST_VERSION_WITH_MEMBER_ID
    may_skip = call.version >= FIRST_VERSION_WITH_SKIPPING
    joiner = Joiner(call.client_id, call.client_host, must_know_id, may_skip)
    return state.groups.join(request, joiner)


def sync_group(
    state: BrokerState, request: SyncGroupRequest, _: Call
) -> SyncGroupResponse | Pending[SyncGroupResponse]:
    """Bring or fetch the assignment of a generation."""
    return state.groups.sync(request)


def heartbeat(state: BrokerState, request: HeartbeatRequest, _: Call) -> HeartbeatResponse:
    """Stay in a group."""
    claim = Claim(request.generation_id, request.member_id, request.group_instance_id)
    return HeartbeatResponse(error_code=state.groups.heartbeat(request.group_id, claim))


def leave_group(state: BrokerState, request: LeaveGroupRequest, call: Call) -> LeaveGroupResponse:
    """Leave a group, or take others out of it."""
    if not request.group_id:
        return LeaveGroupResponse(error_code=Code.INVALID_GROUP_ID)
    if call.version < FIRST_VERSION_WITH_MANY_LEAVERS:
        leaver = LeaveGroupMember(request.member_id)
        return LeaveGroupResponse(error_code=state.groups.leave(request.group_id, leaver))
    return LeaveGroupResponse(
        members=tuple(
            LeaveGroupMemberResult(
                leaver.member_id,
                leaver.group_instance_id,
                state.groups.leave(request.group_id, leaver),
            )
            for leaver in request.members
        )
    )


def describe_groups(
    state: BrokerState, request: DescribeGroupsRequest, call: Call
) -> DescribeGroupsResponse:
    """Tell the state and the members of groups."""
    return DescribeGroupsResponse(
        groups=tuple(_describe(state.groups.get(group), group, call) for group in request.groups)
    )


def _describe(group: Group | None, group_id: str, call: Call) -> DescribedGroup:
    if group is None:
        if call.version < FIRST_VERSION_WITH_NOT_FOUND:
            return DescribedGroup(Code.NONE, None, group_id, GroupState.DEAD)
        message = f"Group {group_id} not found."
        return DescribedGroup(Code.GROUP_ID_NOT_FOUND, message, group_id, GroupState.DEAD)
    stable = group.is_in(GroupState.STABLE)
    return DescribedGroup(
        Code.NONE,
        None,
        group_id,
        group.state,
        group.protocol_type,
        group.protocol_name if stable else "",
        _describe_members(group, stable=stable),
    )


def _describe_members(group: Group, *, stable: bool) -> tuple[DescribedMember, ...]:
    return tuple(
        DescribedMember(
            m.member_id,
            m.instance_id,
            m.client_id,
            f"/{m.client_host}",
            m.metadata_for(group.protocol_name) if stable else b"",
            m.assignment if stable else b"",
        )
        for m in group.members.values()
    )


def list_groups(state: BrokerState, request: ListGroupsRequest, _: Call) -> ListGroupsResponse:
    """Name the groups, all or those in some states."""
    wanted = {name.lower() for name in request.states}
    classic = not request.types or "classic" in {name.lower() for name in request.types}
    return ListGroupsResponse(
        groups=tuple(
            ListedGroup(group.group_id, group.protocol_type, group.state, "Classic")
            for group in state.groups
            if classic and (not wanted or group.state.lower() in wanted)
        )
    )


def delete_groups(
    state: BrokerState, request: DeleteGroupsRequest, _: Call
) -> DeleteGroupsResponse:
    """Remove groups without members."""
    return DeleteGroupsResponse(
        results=tuple(
            DeleteGroupResult(group, state.groups.delete(group)) for group in request.groups
        )
    )
