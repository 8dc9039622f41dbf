"""Committed offsets: plain, within a transaction, read back, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.group import CommittedOffset, Group, GroupState, PartitionKey
from batuta.streams.broker.groups import Claim
from batuta.streams.broker.messages_offsets import (
    CommitPartition,
    CommitTopic,
    FetchedGroup,
    FetchedPartition,
    FetchedTopic,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchGroup,
    OffsetFetchRequest,
    OffsetFetchResponse,
    PartitionError,
    TopicErrors,
    TopicPartitions,
    TxnCommitPartition,
    TxnCommitTopic,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)

if TYPE_CHECKING:
    from batuta.streams.broker.state import BrokerState, Call

__all__ = ["offset_commit", "offset_delete", "offset_fetch", "txn_offset_commit"]

FIRST_VERSION_WITH_MANY_GROUPS = 8
FIRST_VERSION_WITH_NOT_FOUND = 9


def offset_commit(
    state: BrokerState, request: OffsetCommitRequest, call: Call
) -> OffsetCommitResponse:
    """Note how far a group has read."""
    claim = Claim(request.generation_id, request.member_id, request.group_instance_id)
    error = state.groups.check_commit(request.group_id, claim, transactional=False)
    if call.version >= FIRST_VERSION_WITH_NOT_FOUND and state.groups.get(request.group_id) is None:
        error = Code.GROUP_ID_NOT_FOUND
    answers, accepted = _check_offsets(state, request.topics, error)
    if accepted and not state.groups.commit(request.group_id, accepted):
        answers, _ = _check_offsets(state, request.topics, Code.NOT_COORDINATOR)
    return OffsetCommitResponse(topics=answers)


def txn_offset_commit(
    state: BrokerState, request: TxnOffsetCommitRequest, __: Call
) -> TxnOffsetCommitResponse:
    """Note how far a group will have read if the transaction commits."""
    claim = Claim(request.generation_id, request.member_id, request.group_instance_id)
    error = _check_txn_offsets(state, request) or state.groups.check_commit(
        request.group_id, claim, transactional=True
    )
    answers, accepted = _check_offsets(state, request.topics, error)
    if accepted and not state.groups.commit(request.group_id, accepted, request.producer_id):
        answers, _ = _check_offsets(state, request.topics, Code.NOT_COORDINATOR)
    return TxnOffsetCommitResponse(topics=answers)


def _check_txn_offsets(state: BrokerState, request: TxnOffsetCommitRequest) -> Code:
    if not request.group_id:
        return Code.INVALID_GROUP_ID
    return state.transactions.check_offsets(
        request.transactional_id, request.producer_id, request.producer_epoch, request.group_id
    )


def _check_offsets(
    state: BrokerState, topics: tuple[CommitTopic, ...] | tuple[TxnCommitTopic, ...], error: Code
) -> tuple[tuple[TopicErrors, ...], dict[PartitionKey, CommittedOffset]]:
    """Answer for each partition, and gather the offsets that pass."""
    answers: list[TopicErrors] = []
    accepted: dict[PartitionKey, CommittedOffset] = {}
    for topic in topics:
        codes: list[PartitionError] = []
        for entry in topic.partitions:
            code = error or _check_entry(state, topic.name, entry)
            if not code:
                committed = CommittedOffset(entry.offset, entry.leader_epoch, entry.metadata or "")
                accepted[topic.name, entry.partition] = committed
            codes.append(PartitionError(entry.partition, code))
        answers.append(TopicErrors(topic.name, tuple(codes)))
    return tuple(answers), accepted


def _check_entry(
    state: BrokerState, name: str, entry: CommitPartition | TxnCommitPartition
) -> Code:
    if state.topics.partition(name, entry.partition) is None:
        return Code.UNKNOWN_TOPIC_OR_PARTITION
    too_long = len(entry.metadata or "") > state.settings.max_offset_metadata_bytes
    return Code.OFFSET_METADATA_TOO_LARGE if too_long else Code.NONE


def offset_fetch(
    state: BrokerState, request: OffsetFetchRequest, call: Call
) -> OffsetFetchResponse:
    """Tell how far groups have read: some partitions, or all there are."""
    stable = request.require_stable
    if call.version >= FIRST_VERSION_WITH_MANY_GROUPS:
        groups = tuple(
            FetchedGroup(asked.group_id, _fetch_group(state, asked, stable=stable))
            for asked in request.groups
        )
        return OffsetFetchResponse(groups=groups)
    asked = OffsetFetchGroup(request.group_id, topics=request.topics)
    return OffsetFetchResponse(topics=_fetch_group(state, asked, stable=stable))


def _fetch_group(
    state: BrokerState, asked: OffsetFetchGroup, *, stable: bool
) -> tuple[FetchedTopic, ...]:
    group = state.groups.get(asked.group_id) or Group(asked.group_id)
    topics = _all_committed(group) if asked.topics is None else asked.topics
    return tuple(
        FetchedTopic(
            topic.name,
            tuple(
                _fetch_one(group, (topic.name, number), stable=stable)
                for number in topic.partitions
            ),
        )
        for topic in topics
    )


def _all_committed(group: Group) -> tuple[TopicPartitions, ...]:
    names = dict.fromkeys(name for name, _ in group.offsets)
    return tuple(
        TopicPartitions(name, tuple(number for owner, number in group.offsets if owner == name))
        for name in names
    )


def _fetch_one(group: Group, key: PartitionKey, *, stable: bool) -> FetchedPartition:
    if stable and any(key in offsets for offsets in group.pending_offsets.values()):
        return FetchedPartition(key[1], error_code=Code.UNSTABLE_OFFSET_COMMIT)
    committed = group.offsets.get(key)
    if committed is None:
        return FetchedPartition(key[1])
    return FetchedPartition(key[1], committed.offset, committed.leader_epoch, committed.metadata)


def offset_delete(
    state: BrokerState, request: OffsetDeleteRequest, _: Call
) -> OffsetDeleteResponse:
    """Forget how far a group has read."""
    group = state.groups.get(request.group_id)
    if group is None:
        return OffsetDeleteResponse(error_code=Code.GROUP_ID_NOT_FOUND)
    if not group.is_in(GroupState.EMPTY):
        return OffsetDeleteResponse(error_code=Code.NON_EMPTY_GROUP)
    keys = [(topic.name, entry.partition) for topic in request.topics for entry in topic.partitions]
    if not state.groups.remove_offsets(group, keys):
        return OffsetDeleteResponse(error_code=Code.NOT_COORDINATOR)
    answers: list[TopicErrors] = []
    for topic in request.topics:
        codes = tuple(PartitionError(entry.partition, Code.NONE) for entry in topic.partitions)
        answers.append(TopicErrors(topic.name, codes))
    return OffsetDeleteResponse(topics=tuple(answers))
