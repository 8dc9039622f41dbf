"""A group as the journal holds it: what its members agreed on, and how far it has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.group import CommittedOffset, Group, GroupState, Member, PartitionKey
from batuta.streams.broker.journal_entries import (
    Entry,
    GroupKept,
    MemberKept,
    OffsetsCommitted,
)
from batuta.streams.broker.messages_groups import JoinGroupProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["group_entries", "group_entry", "offsets_entry", "offsets_of", "restore_group"]


def group_entry(group: Group) -> GroupKept:
    """What a group agreed on: Apache Kafka keeps the same, so members outlive a restart."""
    members = [_member_entry(member) for member in group.members.values()]
    names = (group.protocol_type, group.protocol_name)
    return GroupKept(group.group_id, group.generation, group.leader, *names, members)


def _member_entry(member: Member) -> MemberKept:
    return MemberKept(
        member.member_id,
        member.instance_id,
        member.client_id,
        member.client_host,
        member.session_timeout_ms,
        member.rebalance_timeout_ms,
        [(protocol.name, protocol.metadata.hex()) for protocol in member.protocols],
        member.assignment.hex(),
    )


def restore_group(group: Group, kept: GroupKept) -> None:
    """Let a group be as it was noted."""
    group.generation, group.leader = kept.generation, kept.leader
    group.protocol_type, group.protocol_name = kept.protocol_type, kept.protocol_name
    group.members = {member.member_id: _member(member) for member in kept.members}
    group.instances = {
        member.instance_id: member.member_id
        for member in kept.members
        if member.instance_id is not None
    }
    group.state = GroupState.STABLE if group.members else GroupState.EMPTY


def _member(kept: MemberKept) -> Member:
    return Member(
        kept.member_id,
        kept.instance_id,
        kept.client_id,
        kept.client_host,
        kept.session_timeout_ms,
        kept.rebalance_timeout_ms,
        tuple(JoinGroupProtocol(name, bytes.fromhex(data)) for name, data in kept.protocols),
        bytes.fromhex(kept.assignment),
    )


def offsets_entry(
    group_id: str, offsets: Mapping[PartitionKey, CommittedOffset], producer_id: int = -1
) -> OffsetsCommitted:
    """Offsets as they are noted."""
    rows = [(*key, o.offset, o.leader_epoch, o.metadata) for key, o in offsets.items()]
    return OffsetsCommitted(group_id, rows, producer_id)


def offsets_of(entry: OffsetsCommitted) -> dict[PartitionKey, CommittedOffset]:
    """The offsets that were noted."""
    return {
        (name, number): CommittedOffset(offset, leader_epoch, metadata)
        for name, number, offset, leader_epoch, metadata in entry.offsets
    }


def group_entries(group: Group) -> Iterator[Entry]:
    """All that is to be noted of a group."""
    yield group_entry(group)
    if group.offsets:
        yield offsets_entry(group.group_id, group.offsets)
    for producer_id, offsets in group.pending_offsets.items():
        yield offsets_entry(group.group_id, offsets, producer_id)
