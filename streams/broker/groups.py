"""The group coordinator: what each call of the classic protocol may do to a group."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.group import Group, GroupState, Member
from batuta.streams.broker.kept_groups import KeptGroups
from batuta.streams.broker.messages_groups import (
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupMember,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.pending import Pending
from batuta.streams.broker.rebalance import Rebalancer, refused_join, synced_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.journal import Journal
    from batuta.streams.broker.settings import BrokerSettings

__all__ = ["Claim", "GroupCoordinator", "Joiner"]

NO_GENERATION = -1


@dataclass(frozen=True, slots=True)
class Joiner:
    """Who wants to join, beside what the request says.

    Attributes:
        must_know_id: whether a newcomer is first told an id and comes back with it.
        may_skip: whether a restarted static leader can be told to assign nothing.
    """

    client_id: str
    client_host: str
    must_know_id: bool
    may_skip: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a caller says to be: a member of a generation, or nobody (-1 and empty)."""

    generation_id: int = NO_GENERATION
    member_id: str = ""
    instance_id: str | None = None

    @property
    def is_membership(self) -> bool:
        """Whether the caller claims anything at all."""
        return self.generation_id >= 0 or bool(self.member_id) or self.instance_id is not None


class GroupCoordinator(KeptGroups):
    """All groups of the broker."""

    def __init__(
        self,
        clock: Clock,
        settings: BrokerSettings,
        journal: Journal,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        super().__init__(journal)
        self._settings = settings
        self._new_id = new_id
        self._rebalancer = Rebalancer(clock, settings.initial_rebalance_delay_ms, self.note)

    def resume(self) -> None:
        """Start the sessions of all members anew: they could not reach us."""
        for group in self:
            for member in group.members.values():
                self._rebalancer.heard_from(group, member)

    # ---- joining

    def join(
        self, request: JoinGroupRequest, joiner: Joiner
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        """Take a member into the next generation."""
        error = self._check_join(request)
        if error:
            return refused_join(error, request.member_id)
        group = self.get_or_create(request.group_id)
        if not group.accepts(request.protocol_type, request.protocols):
            return refused_join(Code.INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        if request.member_id:
            return self._join_again(group, request, joiner)
        if request.group_instance_id is not None:
            return self._join_as_instance(group, request, joiner)
        return self._join_new(group, request, joiner)

    def _check_join(self, request: JoinGroupRequest) -> Code:
        settings = self._settings
        shortest, longest = settings.min_session_timeout_ms, settings.max_session_timeout_ms
        if not request.group_id:
            return Code.INVALID_GROUP_ID
        if not shortest <= request.session_timeout_ms <= longest:
            return Code.INVALID_SESSION_TIMEOUT
        if request.member_id and self.get(request.group_id) is None:
            return Code.UNKNOWN_MEMBER_ID
        return Code.NONE

    def _join_new(
        self, group: Group, request: JoinGroupRequest, joiner: Joiner
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        member_id = self._new_member_id(joiner.client_id)
        if joiner.must_know_id:
            self._rebalancer.promise(group, member_id, request.session_timeout_ms)
            return refused_join(Code.MEMBER_ID_REQUIRED, member_id)
        return self._add(group, replace(request, member_id=member_id), joiner)

    def _join_as_instance(
        self, group: Group, request: JoinGroupRequest, joiner: Joiner
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        instance_id = request.group_instance_id
        assert instance_id is not None
        named = replace(request, member_id=self._new_member_id(instance_id))
        former = group.members.get(group.instances.get(instance_id, ""))
        if former is None:
            return self._add(group, named, joiner)
        return self._replace_instance(group, former, named, joiner)

    def _replace_instance(
        self, group: Group, former: Member, request: JoinGroupRequest, joiner: Joiner
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        """Let a restarted static member take its own place, where it can without a rebalance."""
        former_leader = group.leader
        member = _take_place(group, former, request, joiner)
        self._rebalancer.heard_from(group, member)
        if not group.is_in(GroupState.STABLE) or group.choose_protocol() != group.protocol_name:
            return self._rebalancer.await_join(group, member)
        self.note(group)
        if not joiner.may_skip:
            # The leader is named by its former id, so that its successor assigns nothing anew.
            answer = group.joined_response(member, as_leader=False)
            return replace(answer, leader=former_leader)
        is_leader = member.member_id == group.leader
        answer = group.joined_response(member, as_leader=is_leader)
        return replace(answer, skip_assignment=is_leader)

    def _join_again(
        self, group: Group, request: JoinGroupRequest, joiner: Joiner
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        if request.member_id in group.promised:
            group.promised.pop(request.member_id).cancel()
            return self._add(group, request, joiner)
        claim = Claim(NO_GENERATION, request.member_id, request.group_instance_id)
        member, error = self._identify(group, claim)
        if member is None:
            return refused_join(error, request.member_id)
        return self._rejoin(group, member, request)

    def _rejoin(
        self, group: Group, member: Member, request: JoinGroupRequest
    ) -> JoinGroupResponse | Pending[JoinGroupResponse]:
        unchanged = member.protocols == request.protocols
        is_leader = member.member_id == group.leader
        if unchanged and group.is_in(GroupState.COMPLETING_REBALANCE):
            return group.joined_response(member, as_leader=is_leader)
        if unchanged and group.is_in(GroupState.STABLE) and not is_leader:
            return group.joined_response(member, as_leader=False)
        member.protocols = request.protocols
        member.session_timeout_ms = request.session_timeout_ms
        member.rebalance_timeout_ms = _rebalance_timeout_ms(request)
        return self._rebalancer.await_join(group, member)

    def _add(
        self, group: Group, request: JoinGroupRequest, joiner: Joiner
    ) -> Pending[JoinGroupResponse]:
        member = _new_member(request, joiner)
        if not group.members:
            group.protocol_type, group.leader = request.protocol_type, member.member_id
        group.members[member.member_id] = member
        if member.instance_id is not None:
            group.instances[member.instance_id] = member.member_id
        return self._rebalancer.await_join(group, member)

    # ---- syncing, staying, leaving

    def sync(self, request: SyncGroupRequest) -> SyncGroupResponse | Pending[SyncGroupResponse]:
        """Take the leader's assignment, or wait for it."""
        claim = Claim(request.generation_id, request.member_id, request.group_instance_id)
        group, member, error = self._find_member(request.group_id, claim)
        if group is None or member is None or error:
            return SyncGroupResponse(error_code=error)
        if not _protocol_agrees(group, request):
            return SyncGroupResponse(error_code=Code.INCONSISTENT_GROUP_PROTOCOL)
        if group.is_in(GroupState.PREPARING_REBALANCE):
            return SyncGroupResponse(error_code=Code.REBALANCE_IN_PROGRESS)
        if group.is_in(GroupState.STABLE):
            self._rebalancer.heard_from(group, member)
            return synced_response(group, member)
        member.syncing = waiting = Pending[SyncGroupResponse]()
        if member.member_id == group.leader:
            assigned = {a.member_id: a.assignment for a in request.assignments}
            self._rebalancer.assign(group, assigned)
        return waiting

    def heartbeat(self, group_id: str, claim: Claim) -> Code:
        """Keep a member's session alive, and tell it of a rebalance."""
        group, member, error = self._find_member(group_id, claim)
        if group is None or member is None or error:
            return error
        self._rebalancer.heard_from(group, member)
        preparing = group.is_in(GroupState.PREPARING_REBALANCE)
        return Code.REBALANCE_IN_PROGRESS if preparing else Code.NONE

    def leave(self, group_id: str, leaver: LeaveGroupMember) -> Code:
        """Drop a member that says goodbye; a static one may be named by its instance alone."""
        group = self.get(group_id)
        if group is None:
            return Code.UNKNOWN_MEMBER_ID
        if leaver.member_id in group.promised:
            self._rebalancer.break_promise(group, leaver.member_id)
            return Code.NONE
        instance_id = leaver.group_instance_id
        member_id = leaver.member_id or group.instances.get(instance_id or "", "")
        member, error = self._identify(group, Claim(NO_GENERATION, member_id, instance_id))
        if member is not None:
            self._rebalancer.remove(group, member)
        return error

    def check_commit(self, group_id: str, claim: Claim, *, transactional: bool) -> Code:
        """Whether a caller may commit offsets of a group, which is created for outsiders."""
        if self.get(group_id) is None and claim.generation_id >= 0:
            return Code.ILLEGAL_GENERATION
        group = self.get_or_create(group_id)
        if claim.is_membership:
            member, error = self._identify(group, claim)
            if member is None:
                return error
            if claim.generation_id != group.generation:
                return Code.ILLEGAL_GENERATION
            self._rebalancer.heard_from(group, member)
        elif not transactional and not group.is_in(GroupState.EMPTY):
            return Code.UNKNOWN_MEMBER_ID
        completing = group.is_in(GroupState.COMPLETING_REBALANCE)
        return Code.REBALANCE_IN_PROGRESS if completing and not transactional else Code.NONE

    def _new_member_id(self, prefix: str) -> str:
        return f"{prefix}-{self._new_id()}"

    def _find_member(self, group_id: str, claim: Claim) -> tuple[Group | None, Member | None, Code]:
        if not group_id:
            return None, None, Code.INVALID_GROUP_ID
        group = self.get(group_id)
        if group is None:
            return None, None, Code.UNKNOWN_MEMBER_ID
        member, error = self._identify(group, claim)
        if member is not None and claim.generation_id != group.generation:
            error = Code.ILLEGAL_GENERATION
        return group, member, error

    @staticmethod
    def _identify(group: Group, claim: Claim) -> tuple[Member | None, Code]:
        if claim.instance_id is not None:
            current = group.instances.get(claim.instance_id)
            if current is None:
                return None, Code.UNKNOWN_MEMBER_ID
            if current != claim.member_id:
                return None, Code.FENCED_INSTANCE_ID
        member = group.members.get(claim.member_id)
        return (member, Code.NONE) if member else (None, Code.UNKNOWN_MEMBER_ID)


def _rebalance_timeout_ms(request: JoinGroupRequest) -> int:
    if request.rebalance_timeout_ms < 0:
        return request.session_timeout_ms
    return request.rebalance_timeout_ms


def _new_member(request: JoinGroupRequest, joiner: Joiner) -> Member:
    return Member(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        client_id=joiner.client_id,
        client_host=joiner.client_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=_rebalance_timeout_ms(request),
        protocols=request.protocols,
    )


def _take_place(group: Group, former: Member, request: JoinGroupRequest, joiner: Joiner) -> Member:
    """Put a new member where a static one of the same instance was; the old one is fenced."""
    member = _new_member(request, joiner)
    member.assignment = former.assignment
    group.members = {
        member.member_id if old is former else key: member if old is former else old
        for key, old in group.members.items()
    }
    assert member.instance_id is not None
    group.instances[member.instance_id] = member.member_id
    if group.leader == former.member_id:
        group.leader = member.member_id
    if former.session is not None:
        former.session.cancel()
    if former.joining is not None:
        former.joining.resolve(refused_join(Code.FENCED_INSTANCE_ID, former.member_id))
    if former.syncing is not None:
        former.syncing.resolve(SyncGroupResponse(error_code=Code.FENCED_INSTANCE_ID))
    return member


def _protocol_agrees(group: Group, request: SyncGroupRequest) -> bool:
    same_type = request.protocol_type in {None, group.protocol_type}
    return same_type and request.protocol_name in {None, group.protocol_name}
