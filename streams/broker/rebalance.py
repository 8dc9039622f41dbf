"""How a group goes from one generation to the next: join, sync, sessions, and who is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.group import Group, GroupState, Member
from batuta.streams.broker.messages_groups import JoinGroupResponse, SyncGroupResponse
from batuta.streams.broker.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from batuta.streams.broker.clock import Clock

__all__ = ["Rebalancer"]

#: How long a member that has never been in a generation may wait for one.
NEW_MEMBER_TIMEOUT_MS = 300_000


class Rebalancer:
    """Moves groups through the states of the classic protocol.

    What a group agrees on is handed to `note` before its members are told.
    """

    def __init__(self, clock: Clock, initial_delay_ms: int, note: Callable[[Group], None]) -> None:
        self._clock, self._initial_delay_ms, self._note = clock, initial_delay_ms, note

    def await_join(self, group: Group, member: Member) -> Pending[JoinGroupResponse]:
        """Let a member wait for the next generation, starting it if need be."""
        if member.joining is not None:
            member.joining.resolve(refused_join(Code.UNKNOWN_MEMBER_ID, member.member_id))
        member.joining = waiting = Pending[JoinGroupResponse]()
        self._watch_session(group, member, NEW_MEMBER_TIMEOUT_MS)
        self.rebalance(group)
        return waiting

    def rebalance(self, group: Group) -> None:
        """Start a new generation, or carry on with the one being prepared."""
        if group.is_in(GroupState.PREPARING_REBALANCE):
            self._complete_if_all_joined(group)
            return
        was_empty = group.is_in(GroupState.EMPTY)
        if group.is_in(GroupState.COMPLETING_REBALANCE):
            self._cancel_syncs(group)
        group.state = GroupState.PREPARING_REBALANCE
        if was_empty and self._initial_delay_ms:
            self._plan_completion(group, self._initial_delay_ms)
        else:
            self._plan_completion(group, group.rebalance_timeout_ms())
            self._complete_if_all_joined(group)

    def heard_from(self, group: Group, member: Member) -> None:
        """Start a member's session anew."""
        self._watch_session(group, member, member.session_timeout_ms)

    def promise(self, group: Group, member_id: str, session_timeout_ms: int) -> None:
        """Note an id that was given out; whoever got it must come back with it in time."""
        group.promised[member_id] = self._clock.call_later(
            session_timeout_ms, lambda: self.break_promise(group, member_id)
        )

    def break_promise(self, group: Group, member_id: str) -> None:
        """Forget an id that was given out."""
        alarm = group.promised.pop(member_id, None)
        if alarm is not None:
            alarm.cancel()
            self._after_removal(group)

    def remove(self, group: Group, member: Member) -> None:
        """Drop a member; the others divide its work."""
        group.remove(member)
        if member.joining is not None:
            member.joining.resolve(refused_join(Code.UNKNOWN_MEMBER_ID, member.member_id))
        if member.syncing is not None:
            member.syncing.resolve(SyncGroupResponse(error_code=Code.UNKNOWN_MEMBER_ID))
        self._after_removal(group)

    def assign(self, group: Group, assignments: dict[str, bytes]) -> None:
        """Take the leader's assignment: the group is stable."""
        group.state = GroupState.STABLE
        group.set_alarm(None)
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        self._note(group)
        for member in group.members.values():
            self._answer_sync(group, member)

    def _answer_sync(self, group: Group, member: Member) -> None:
        if member.syncing is None:
            return
        syncing, member.syncing = member.syncing, None
        self.heard_from(group, member)
        syncing.resolve(synced_response(group, member))

    def _after_removal(self, group: Group) -> None:
        if group.is_in(GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            self.rebalance(group)
        elif group.is_in(GroupState.PREPARING_REBALANCE):
            self._complete_if_all_joined(group)

    def _plan_completion(self, group: Group, delay_ms: int) -> None:
        group.set_alarm(self._clock.call_later(delay_ms, lambda: self._complete(group)))

    def _complete_if_all_joined(self, group: Group) -> None:
        waits_for_more = self._initial_delay_ms and not group.generation and group.members
        if group.all_joined() and not waits_for_more:
            self._complete(group)

    def _complete(self, group: Group) -> None:
        for member in [m for m in group.members.values() if m.joining is None]:
            if member.instance_id is None:
                group.remove(member)
        joined = [m for m in group.members.values() if m.joining is not None]
        if group.members and not joined:
            self._plan_completion(group, group.rebalance_timeout_ms())
            return
        group.set_alarm(None)
        group.generation += 1
        if joined:
            self._start_generation(group, joined)
        else:
            group.state, group.protocol_name, group.leader = GroupState.EMPTY, "", ""
            self._note(group)

    def _start_generation(self, group: Group, joined: list[Member]) -> None:
        group.state = GroupState.COMPLETING_REBALANCE
        if group.leader not in {m.member_id for m in joined}:
            group.leader = joined[0].member_id
        group.protocol_name = group.choose_protocol()
        generation = group.generation
        group.set_alarm(
            self._clock.call_later(
                group.rebalance_timeout_ms(), lambda: self._drop_unsynced(group, generation)
            )
        )
        for member in joined:
            joining, member.joining = member.joining, None
            self.heard_from(group, member)
            assert joining is not None
            as_leader = member.member_id == group.leader
            joining.resolve(group.joined_response(member, as_leader=as_leader))

    def _drop_unsynced(self, group: Group, generation: int) -> None:
        waiting = group.is_in(GroupState.COMPLETING_REBALANCE) and group.generation == generation
        if not waiting:
            return
        for member in [m for m in group.members.values() if m.syncing is None]:
            group.remove(member)
        self.rebalance(group)

    def _cancel_syncs(self, group: Group) -> None:
        for member in group.members.values():
            member.assignment = b""
            if member.syncing is not None:
                syncing, member.syncing = member.syncing, None
                syncing.resolve(SyncGroupResponse(error_code=Code.REBALANCE_IN_PROGRESS))

    def _watch_session(self, group: Group, member: Member, timeout_ms: int) -> None:
        if member.session is not None:
            member.session.cancel()
        member.session = self._clock.call_later(timeout_ms, lambda: self._expire(group, member))

    def _expire(self, group: Group, member: Member) -> None:
        is_present = group.members.get(member.member_id) is member
        was_in_generation = bool(group.generation)
        waits = member.syncing is not None or (member.joining is not None and was_in_generation)
        if is_present and not waits:
            self.remove(group, member)


def refused_join(code: Code, member_id: str) -> JoinGroupResponse:
    """The answer to somebody who cannot join."""
    return JoinGroupResponse(error_code=code, member_id=member_id)


def synced_response(group: Group, member: Member) -> SyncGroupResponse:
    """The answer to a member whose assignment is there."""
    return SyncGroupResponse(
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        assignment=member.assignment,
    )
