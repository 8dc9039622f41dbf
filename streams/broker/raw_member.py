"""A group member that says exactly what it is told to, for tests of any Kafka broker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from batuta.streams.broker.messages_groups import (
    DescribedGroup,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupProtocol,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupMember,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupAssignment,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.raw_client import RawClient, eventually
from batuta.streams.broker.testing import TopicFactory

__all__ = [
    "ID_REQUIRED",
    "REBALANCING",
    "Member",
    "describe",
    "eventually_rebalancing",
    "new_group",
    "two_members",
    "until_state",
]

REBALANCING, ID_REQUIRED = 27, 79


@dataclass
class Member:
    """A group member that says exactly what it is told to."""

    raw: RawClient
    group: str
    instance_id: str | None = None
    member_id: str = ""
    generation: int = -1
    session_ms: int = 10_000
    rebalance_ms: int = 10_000
    protocols: tuple[tuple[str, bytes], ...] = (("range", b"me"),)
    leader: str = ""
    roster: list[str] = field(default_factory=list[str])

    def request(self) -> JoinGroupRequest:
        """Return the JoinGroup request as it stands."""
        return JoinGroupRequest(
            self.group,
            self.session_ms,
            self.rebalance_ms,
            self.member_id,
            self.instance_id,
            "raw",
            tuple(JoinGroupProtocol(*protocol) for protocol in self.protocols),
        )

    async def join_once(self, version: int = 9) -> JoinGroupResponse:
        """Ask once to join, and remember what was given."""
        answer = await self.raw.ask(self.request(), JoinGroupResponse, version)
        if answer.error_code in {0, ID_REQUIRED}:
            self.member_id = answer.member_id
        if answer.error_code == 0:
            self.generation, self.leader = answer.generation_id, answer.leader
            self.roster = [member.member_id for member in answer.members]
        return answer

    async def join(self) -> JoinGroupResponse:
        """Join, with the id that a newcomer is first told."""
        answer = await self.join_once()
        if answer.error_code == ID_REQUIRED:
            answer = await self.join_once()
        assert answer.error_code == 0, answer
        return answer

    async def sync(self, *assigned: tuple[str, bytes], version: int = 5) -> SyncGroupResponse:
        """Sync; a leader says who gets what."""
        request = SyncGroupRequest(
            self.group,
            self.generation,
            self.member_id,
            self.instance_id,
            "raw",
            self.protocols[0][0],
            tuple(SyncGroupAssignment(*pair) for pair in assigned),
        )
        return await self.raw.ask(request, SyncGroupResponse, version)

    async def beat(self) -> int:
        """Return the error code of a heartbeat."""
        request = HeartbeatRequest(self.group, self.generation, self.member_id, self.instance_id)
        return (await self.raw.ask(request, HeartbeatResponse)).error_code

    async def leave(self) -> int:
        """Return the error code of leaving."""
        leaver = LeaveGroupMember(self.member_id, self.instance_id)
        answer = await self.raw.ask(
            LeaveGroupRequest(self.group, "", (leaver,)), LeaveGroupResponse
        )
        return answer.error_code or answer.members[0].error_code

    async def lead(self) -> None:
        """Join alone and take everything."""
        await self.join()
        assert (await self.sync((self.member_id, b"all"))).error_code == 0


async def new_group(raw: RawClient) -> str:
    """Return a fresh group whose coordinator answers."""
    group = TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    return group


async def describe(raw: RawClient, group: str) -> DescribedGroup:
    """Describe one group."""
    answer = await raw.ask(DescribeGroupsRequest((group,)), DescribeGroupsResponse)
    return answer.groups[0]


async def until_state(raw: RawClient, group: str, state: str) -> None:
    """Return once a group is in `state`."""

    async def reached() -> bool:
        return (await describe(raw, group)).group_state == state

    await eventually(reached)


async def two_members(raw: RawClient) -> tuple[Member, Member]:
    """A stable group of a leader and a follower, in generation 2."""
    group = await new_group(raw)
    first, second = Member(raw, group), Member(raw, group)
    await first.lead()
    joining = asyncio.create_task(second.join())
    await eventually_rebalancing(first)
    await asyncio.gather(first.join(), joining)
    parts = ((first.member_id, b"left"), (second.member_id, b"right"))
    left, right = await asyncio.gather(first.sync(*parts), second.sync())
    assert (left.assignment, right.assignment) == (b"left", b"right")
    return first, second


async def eventually_rebalancing(member: Member) -> None:
    """Return once a heartbeat tells of a rebalance."""

    async def told() -> bool:
        return await member.beat() == REBALANCING

    await eventually(told)
