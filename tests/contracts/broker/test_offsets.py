from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.messages_groups import (
    JoinGroupProtocol,
    JoinGroupRequest,
    JoinGroupResponse,
    SyncGroupAssignment,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.messages_offsets import (
    CommitPartition,
    CommitTopic,
    FetchedPartition,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeletePartition,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteTopic,
    OffsetFetchGroup,
    OffsetFetchRequest,
    OffsetFetchResponse,
    TopicPartitions,
)
from batuta.streams.broker.testing import TopicFactory

if TYPE_CHECKING:
    from batuta.streams.broker.raw_client import RawClient


async def new_group(raw: RawClient) -> str:
    group = TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    return group


async def commit(
    raw: RawClient,
    group: str,
    entry: tuple[str, CommitPartition],
    claim: tuple[int, str, str | None] = (-1, "", None),
    version: int = 9,
) -> int:
    topic = CommitTopic(entry[0], (entry[1],))
    request = OffsetCommitRequest(group, *claim, topics=(topic,))
    answer = await raw.ask(request, OffsetCommitResponse, version)
    return answer.topics[0].partitions[0].error_code


async def fetched(
    raw: RawClient, group: str, topics: tuple[TopicPartitions, ...] | None, version: int = 9
) -> dict[tuple[str, int], FetchedPartition]:
    if version >= 8:
        grouped = OffsetFetchRequest(groups=(OffsetFetchGroup(group, topics=topics),))
        answer = await raw.ask(grouped, OffsetFetchResponse, version)
        found = answer.groups[0].topics
        assert answer.groups[0].error_code == 0
    else:
        answer = await raw.ask(OffsetFetchRequest(group, topics), OffsetFetchResponse, version)
        found = answer.topics
        assert answer.error_code == 0
    return {(t.name, p.partition): p for t in found for p in t.partitions}


@pytest.mark.parametrize("version", range(2, 10))
async def test_what_is_committed_is_fetched(
    raw: RawClient, topics: TopicFactory, version: int
) -> None:
    topic, group = await topics.create("offsets", partitions=2), await new_group(raw)
    entry = CommitPartition(1, 42, 0, "a note")
    assert await commit(raw, group, (topic, entry), version=version) == 0
    found = await fetched(raw, group, (TopicPartitions(topic, (0, 1)),), version)
    epoch = 0 if version >= 6 else -1
    assert found[topic, 1] == FetchedPartition(1, 42, epoch, "a note", 0)
    assert found[topic, 0] == FetchedPartition(0, -1, -1, "", 0)


async def test_everything_a_group_committed(raw: RawClient, topics: TopicFactory) -> None:
    first, second = await topics.create("one"), await topics.create("two")
    group = await new_group(raw)
    await commit(raw, group, (first, CommitPartition(0, 1, -1, None)))
    await commit(raw, group, (second, CommitPartition(0, 2, -1, None)))
    for version in (2, 5, 7, 8, 9):
        found = await fetched(raw, group, None, version)
        assert {key: p.offset for key, p in found.items()} == {(first, 0): 1, (second, 0): 2}
    assert await fetched(raw, await new_group(raw), None) == {}


async def test_bad_commits_are_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic, group = await topics.create("offsets"), await new_group(raw)
    fine = CommitPartition(0, 1, -1, None)
    assert await commit(raw, group, ("nobody-made-this", fine)) == 3
    assert await commit(raw, group, (topic, CommitPartition(7, 1, -1, None))) == 3
    assert await commit(raw, group, (topic, CommitPartition(0, 1, -1, "x" * 4097))) == 12
    assert await commit(raw, group, (topic, fine), (3, "somebody", None)) == 25
    assert await commit(raw, await new_group(raw), (topic, fine), (3, "somebody", None), 8) == 22
    assert await commit(raw, await new_group(raw), (topic, fine), (3, "somebody", None)) == 69


async def test_a_stable_group_takes_commits_from_its_members_only(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic, group = await topics.create("offsets"), await new_group(raw)
    protocol = (JoinGroupProtocol("range", b""),)
    join = JoinGroupRequest(group, 10_000, 10_000, "", "inst", "consumer", protocol)
    joined = await raw.ask(join, JoinGroupResponse)
    member = joined.member_id
    entry = (topic, CommitPartition(0, 5, -1, None))
    assert await commit(raw, group, entry, (1, member, "inst")) == 27
    assignment = (SyncGroupAssignment(member, b"all"),)
    sync = SyncGroupRequest(group, 1, member, "inst", "consumer", "range", assignment)
    assert (await raw.ask(sync, SyncGroupResponse)).error_code == 0
    claims = [
        ((1, member, "inst"), 0),
        ((1, member, None), 0),
        ((0, member, "inst"), 22),
        ((2, member, "inst"), 22),
        ((1, "somebody", None), 25),
        ((1, "somebody", "inst"), 82),
        ((1, member, "other"), 25),
        ((-1, "", None), 25),
        ((-1, member, None), 22),
    ]
    codes = [(claim, await commit(raw, group, entry, claim)) for claim, _ in claims]
    assert codes == claims


async def test_offsets_are_deleted_when_nobody_reads(raw: RawClient, topics: TopicFactory) -> None:
    topic, group = await topics.create("offsets"), await new_group(raw)
    await commit(raw, group, (topic, CommitPartition(0, 5, -1, None)))

    async def delete(name: str) -> tuple[int, int]:
        entry = OffsetDeleteTopic(topic, (OffsetDeletePartition(0),))
        answer = await raw.ask(OffsetDeleteRequest(name, (entry,)), OffsetDeleteResponse)
        codes = [p.error_code for t in answer.topics for p in t.partitions]
        return answer.error_code, codes[0] if codes else -1

    assert await delete(group) == (0, 0)
    found = await fetched(raw, group, (TopicPartitions(topic, (0,)),))
    assert found[topic, 0].offset == -1
    assert await delete(await new_group(raw)) == (69, -1)


async def test_the_group_without_a_name_takes_offsets(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("offsets")
    assert await commit(raw, "", (topic, CommitPartition(0, 5, -1, None))) == 0
