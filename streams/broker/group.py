"""One consumer group of the classic protocol: its members, its state, what they agreed on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from batuta.streams.broker.messages_groups import (
    JoinGroupMember,
    JoinGroupProtocol,
    JoinGroupResponse,
)

if TYPE_CHECKING:
    from batuta.streams.broker.clock import Alarm
    from batuta.streams.broker.messages_groups import SyncGroupResponse
    from batuta.streams.broker.pending import Pending

__all__ = ["CommittedOffset", "Group", "GroupState", "Member", "PartitionKey"]

#: Topic and partition number.
PartitionKey = tuple[str, int]


class GroupState(StrEnum):
    """The states of the classic protocol, by the names clients see."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """How far a group has read one partition."""

    offset: int
    leader_epoch: int
    metadata: str


@dataclass(slots=True)
class Member:
    """One member of a group.

    Attributes:
        joining: its JoinGroup call, while it waits for the others.
        syncing: its SyncGroup call, while it waits for the leader.
        session: the alarm that ends its membership.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[JoinGroupProtocol, ...]
    assignment: bytes = b""
    joining: Pending[JoinGroupResponse] | None = None
    syncing: Pending[SyncGroupResponse] | None = None
    session: Alarm | None = None

    def metadata_for(self, protocol_name: str) -> bytes:
        """What this member said of itself under one protocol."""
        return next((p.metadata for p in self.protocols if p.name == protocol_name), b"")

    def protocol_names(self) -> set[str]:
        """The protocols this member understands."""
        return {protocol.name for protocol in self.protocols}


@dataclass(slots=True)
class Group:
    """One group; who may do what is decided by the coordinator."""

    group_id: str
    state: GroupState = GroupState.EMPTY
    generation: int = 0
    leader: str = ""
    protocol_type: str = ""
    protocol_name: str = ""
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    instances: dict[str, str] = field(default_factory=dict[str, str])
    promised: dict[str, Alarm] = field(default_factory=dict[str, "Alarm"])
    alarm: Alarm | None = None
    offsets: dict[PartitionKey, CommittedOffset] = field(
        default_factory=dict[PartitionKey, CommittedOffset]
    )
    pending_offsets: dict[int, dict[PartitionKey, CommittedOffset]] = field(
        default_factory=dict[int, dict[PartitionKey, CommittedOffset]]
    )

    def is_in(self, *states: GroupState) -> bool:
        """Whether the group is in one of these states."""
        return self.state in states

    def set_alarm(self, alarm: Alarm | None) -> None:
        """Replace the alarm of the running rebalance."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = alarm

    def accepts(self, protocol_type: str, protocols: tuple[JoinGroupProtocol, ...]) -> bool:
        """Whether somebody with these protocols can agree with the members there are."""
        if self.is_in(GroupState.EMPTY):
            return bool(protocol_type and protocols)
        common = self._common_protocols()
        return protocol_type == self.protocol_type and any(p.name in common for p in protocols)

    def choose_protocol(self) -> str:
        """The protocol most members prefer, of those all understand."""
        common = self._common_protocols()
        votes = Counter(
            next(protocol.name for protocol in member.protocols if protocol.name in common)
            for member in self.members.values()
        )
        return votes.most_common(1)[0][0]

    def _common_protocols(self) -> set[str]:
        names = [member.protocol_names() for member in self.members.values()]
        return set[str].intersection(*names) if names else set()

    def rebalance_timeout_ms(self) -> int:
        """How long the slowest member may take to join again."""
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    def all_joined(self) -> bool:
        """Whether nobody is missing for the next generation."""
        return not self.promised and all(m.joining is not None for m in self.members.values())

    def joined_response(self, member: Member, *, as_leader: bool) -> JoinGroupResponse:
        """The answer to a member of the present generation."""
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            leader=self.leader,
            member_id=member.member_id,
            members=self._roster() if as_leader else (),
        )

    def _roster(self) -> tuple[JoinGroupMember, ...]:
        return tuple(
            JoinGroupMember(m.member_id, m.instance_id, m.metadata_for(self.protocol_name))
            for m in self.members.values()
        )

    def remove(self, member: Member) -> None:
        """Forget a member."""
        self.members.pop(member.member_id, None)
        if member.instance_id is not None:
            self.instances.pop(member.instance_id, None)
        if member.session is not None:
            member.session.cancel()
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), "")

    def forget_topic(self, name: str) -> None:
        """Drop the offsets of a topic that was deleted."""
        for key in [key for key in self.offsets if key[0] == name]:
            del self.offsets[key]
