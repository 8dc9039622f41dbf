from __future__ import annotations

import asyncio

import pytest

from batuta.streams.broker.messages_groups import (
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    LeaveGroupMember,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListGroupsRequest,
    ListGroupsResponse,
)
from batuta.streams.broker.raw_client import RawClient, eventually
from batuta.streams.broker.raw_member import (
    ID_REQUIRED,
    REBALANCING,
    Member,
    describe,
    eventually_rebalancing,
    new_group,
    two_members,
    until_state,
)

ILLEGAL_GENERATION, INCONSISTENT, NO_GROUP_ID, UNKNOWN_MEMBER = 22, 23, 24, 25
BAD_SESSION, NON_EMPTY, NOT_FOUND, FENCED = 26, 68, 69, 82


async def test_a_newcomer_is_first_told_its_id(raw: RawClient) -> None:
    member = Member(raw, await new_group(raw))
    told = await member.join_once()
    assert (told.error_code, told.generation_id, told.members) == (ID_REQUIRED, -1, ())
    assert told.member_id.startswith("raw-")
    joined = await member.join_once()
    assert (joined.error_code, joined.generation_id) == (0, 1)
    assert (joined.member_id, joined.leader) == (told.member_id, told.member_id)
    assert (joined.protocol_name, joined.protocol_type) == ("range", "raw")
    assert [(m.member_id, m.metadata) for m in joined.members] == [(told.member_id, b"me")]


@pytest.mark.parametrize("version", range(4))
async def test_older_versions_join_at_once(raw: RawClient, version: int) -> None:
    member = Member(raw, await new_group(raw))
    answer = await member.join_once(version)
    assert (answer.error_code, answer.generation_id) == (0, 1)
    assert answer.leader == answer.member_id != ""


@pytest.mark.parametrize("version", range(4, 10))
async def test_newer_versions_do_not(raw: RawClient, version: int) -> None:
    answer = await Member(raw, await new_group(raw)).join_once(version)
    assert answer.error_code == ID_REQUIRED


async def test_bad_joins_are_refused(raw: RawClient) -> None:
    group = await new_group(raw)
    cases = [
        (Member(raw, ""), NO_GROUP_ID),
        (Member(raw, group, session_ms=50), BAD_SESSION),
        (Member(raw, group, session_ms=3_000_000), BAD_SESSION),
        (Member(raw, group, protocols=()), INCONSISTENT),
        (Member(raw, group, member_id="nobody"), UNKNOWN_MEMBER),
        (Member(raw, group, member_id="nobody", instance_id="nowhere"), UNKNOWN_MEMBER),
    ]
    codes = [(await member.join_once()).error_code for member, _ in cases]
    assert codes == [code for _, code in cases]


async def test_a_member_must_share_a_protocol(raw: RawClient) -> None:
    first, _ = await two_members(raw)
    stranger = Member(raw, first.group, protocols=(("other", b""),))
    assert (await stranger.join_once()).error_code == INCONSISTENT


async def test_a_second_member_makes_a_new_generation(raw: RawClient) -> None:
    first, second = await two_members(raw)
    assert (first.generation, second.generation) == (2, 2)
    assert first.leader == second.leader == first.member_id
    assert sorted(first.roster) == sorted([first.member_id, second.member_id])
    assert second.roster == []
    assert [await first.beat(), await second.beat()] == [0, 0]
    found = await describe(raw, first.group)
    assert (found.group_state, found.protocol_type, found.protocol_data) == (
        "Stable",
        "raw",
        "range",
    )
    assert {m.member_id: m.assignment for m in found.members} == {
        first.member_id: b"left",
        second.member_id: b"right",
    }
    assert {(m.client_id, m.client_host) for m in found.members} == {("raw", "/127.0.0.1")}


async def test_leaving_makes_a_new_generation(raw: RawClient) -> None:
    first, second = await two_members(raw)
    assert await second.leave() == 0
    assert await first.beat() == REBALANCING
    assert await second.beat() == UNKNOWN_MEMBER
    assert await second.leave() == UNKNOWN_MEMBER
    await first.join()
    assert (first.generation, first.roster) == (3, [first.member_id])


async def test_the_last_one_leaves_an_empty_group(raw: RawClient) -> None:
    member = Member(raw, await new_group(raw))
    await member.lead()
    assert await member.leave() == 0
    found = await describe(raw, member.group)
    assert (found.group_state, found.protocol_type, found.members) == ("Empty", "raw", ())
    again = Member(raw, member.group)
    await again.lead()
    assert again.generation == 3


async def test_a_silent_member_expires(raw: RawClient) -> None:
    group = await new_group(raw)
    member = Member(raw, group, session_ms=300)
    await member.lead()
    await until_state(raw, group, "Empty")
    assert await member.beat() == UNKNOWN_MEMBER


async def test_a_member_that_does_not_rejoin_is_dropped(raw: RawClient) -> None:
    group = await new_group(raw)
    lazy = Member(raw, group, rebalance_ms=400)
    await lazy.lead()
    eager = Member(raw, group, rebalance_ms=400)
    await eager.join()
    assert (eager.generation, eager.roster) == (2, [eager.member_id])
    assert await lazy.beat() == UNKNOWN_MEMBER


async def test_a_member_that_does_not_sync_is_dropped(raw: RawClient) -> None:
    group = await new_group(raw)
    leader, follower = Member(raw, group, rebalance_ms=600), Member(raw, group, rebalance_ms=600)
    await leader.lead()
    joining = asyncio.create_task(follower.join())
    await eventually_rebalancing(leader)
    await asyncio.gather(leader.join(), joining)
    answer = await follower.sync()
    assert answer.error_code == REBALANCING
    assert await leader.beat() == UNKNOWN_MEMBER


async def test_an_id_that_is_never_used_does_not_block(raw: RawClient) -> None:
    group = await new_group(raw)
    ghost, member = Member(raw, group, session_ms=300), Member(raw, group)
    await ghost.join_once()
    await member.join()
    assert member.roster == [member.member_id]


async def test_wrong_generations_and_strangers_are_refused(raw: RawClient) -> None:
    first, _ = await two_members(raw)
    stale = Member(raw, first.group, member_id=first.member_id, generation=1)
    future = Member(raw, first.group, member_id=first.member_id, generation=9)
    stranger = Member(raw, first.group, member_id="nobody", generation=2)
    nowhere = Member(raw, await new_group(raw), member_id="nobody", generation=2)
    expected = [ILLEGAL_GENERATION, ILLEGAL_GENERATION, UNKNOWN_MEMBER, UNKNOWN_MEMBER]
    members = (stale, future, stranger, nowhere)
    assert [await member.beat() for member in members] == expected
    assert [(await member.sync()).error_code for member in members] == expected


async def test_calls_without_a_group_are_refused(raw: RawClient) -> None:
    nobody = Member(raw, "", member_id="x", generation=1)
    assert await nobody.beat() == NO_GROUP_ID
    assert (await nobody.sync()).error_code == NO_GROUP_ID
    assert await nobody.leave() == NO_GROUP_ID


async def test_sync_must_name_the_protocol(raw: RawClient) -> None:
    member = Member(raw, await new_group(raw))
    await member.lead()
    member.protocols = (("other", b""),)
    assert (await member.sync()).error_code == INCONSISTENT


async def test_a_late_sync_is_answered_with_the_assignment(raw: RawClient) -> None:
    first, second = await two_members(raw)
    assert (await second.sync()).assignment == b"right"
    assert (await first.sync((first.member_id, b"changed"))).assignment == b"left"


async def test_sync_while_rebalancing(raw: RawClient) -> None:
    first, second = await two_members(raw)
    await second.leave()
    assert (await first.sync()).error_code == REBALANCING


async def test_a_follower_that_joins_again_unchanged_disturbs_nobody(raw: RawClient) -> None:
    first, second = await two_members(raw)
    answer = await second.join_once()
    assert (answer.error_code, answer.generation_id, answer.members) == (0, 2, ())
    assert [await first.beat(), await second.beat()] == [0, 0]


async def test_a_leader_that_joins_again_starts_a_generation(raw: RawClient) -> None:
    first, second = await two_members(raw)
    joining = asyncio.create_task(first.join())
    await eventually_rebalancing(second)
    await asyncio.gather(joining, second.join())
    assert (first.generation, second.generation) == (3, 3)


async def test_a_follower_with_news_starts_a_generation(raw: RawClient) -> None:
    first, second = await two_members(raw)
    second.protocols = (("range", b"new topics"),)
    joining = asyncio.create_task(second.join())
    await eventually_rebalancing(first)
    leader, _ = await asyncio.gather(first.join(), joining)
    assert {m.member_id: m.metadata for m in leader.members}[second.member_id] == b"new topics"


async def test_the_most_wanted_protocol_wins(raw: RawClient) -> None:
    group = await new_group(raw)
    first = Member(raw, group, protocols=(("range", b"1"), ("sticky", b"1")))
    second = Member(raw, group, protocols=(("sticky", b"2"), ("range", b"2")))
    third = Member(raw, group, protocols=(("sticky", b"3"), ("exotic", b"3"), ("range", b"3")))
    await first.join()
    assert (await first.sync((first.member_id, b""))).error_code == 0
    joining = [asyncio.create_task(member.join()) for member in (second, third)]
    await eventually_rebalancing(first)

    async def all_there() -> bool:
        return len((await describe(raw, group)).members) == 3

    await eventually(all_there)
    answer = await first.join()
    await asyncio.gather(*joining)
    assert answer.protocol_name == "sticky"


async def test_a_static_member_comes_back_without_a_rebalance(raw: RawClient) -> None:
    group = await new_group(raw)
    leader, static = Member(raw, group, "one"), Member(raw, group, "two")
    await leader.lead()
    joining = asyncio.create_task(static.join())
    await eventually_rebalancing(leader)
    await asyncio.gather(leader.join(), joining)
    parts = ((leader.member_id, b"left"), (static.member_id, b"right"))
    await asyncio.gather(leader.sync(*parts), static.sync())
    restarted = Member(raw, group, "two")
    answer = await restarted.join_once()
    assert (answer.error_code, answer.generation_id) == (0, 2)
    assert restarted.member_id not in {"", static.member_id}
    assert (await restarted.sync()).assignment == b"right"
    assert [await leader.beat(), await restarted.beat()] == [0, 0]
    assert await static.beat() == FENCED
    assert (await static.sync()).error_code == FENCED
    assert (await static.join_once()).error_code == FENCED
    assert await static.leave() == FENCED


@pytest.mark.parametrize("version", [5, 8, 9])
async def test_a_static_leader_comes_back_without_a_rebalance(raw: RawClient, version: int) -> None:
    group = await new_group(raw)
    leader = Member(raw, group, "one")
    await leader.lead()
    restarted = Member(raw, group, "one")
    answer = await restarted.join_once(version)
    assert (answer.error_code, answer.generation_id) == (0, 1)
    if version >= 9:
        assert answer.skip_assignment
        assert (answer.leader, len(answer.members)) == (restarted.member_id, 1)
    else:
        assert (answer.leader, answer.members) == (leader.member_id, ())
    assert (await restarted.sync()).assignment == b"all"
    assert await restarted.beat() == 0


async def test_a_static_member_with_news_starts_a_generation(raw: RawClient) -> None:
    group = await new_group(raw)
    await Member(raw, group, "one").lead()
    restarted = Member(raw, group, "one", protocols=(("sticky", b"me"),))
    answer = await restarted.join_once()
    assert answer.error_code == INCONSISTENT


async def test_a_static_member_can_be_removed_by_its_instance(raw: RawClient) -> None:
    group = await new_group(raw)
    member = Member(raw, group, "one")
    await member.lead()
    leavers = (LeaveGroupMember("", "one"), LeaveGroupMember("", "two"))
    answer = await raw.ask(LeaveGroupRequest(group, "", leavers), LeaveGroupResponse)
    assert [entry.error_code for entry in answer.members] == [0, UNKNOWN_MEMBER]
    assert await member.beat() == UNKNOWN_MEMBER


@pytest.mark.parametrize("version", range(3))
async def test_older_versions_leave_one_by_one(raw: RawClient, version: int) -> None:
    group = await new_group(raw)
    member = Member(raw, group)
    await member.lead()

    async def leave() -> int:
        request = LeaveGroupRequest(group, member.member_id)
        return (await raw.ask(request, LeaveGroupResponse, version)).error_code

    assert [await leave(), await leave()] == [0, UNKNOWN_MEMBER]


async def test_groups_are_listed_and_deleted(raw: RawClient) -> None:
    group = await new_group(raw)
    member = Member(raw, group)
    await member.lead()

    async def delete() -> int:
        answer = await raw.ask(DeleteGroupsRequest((group,)), DeleteGroupsResponse)
        return answer.results[0].error_code

    async def listed(*states: str) -> set[tuple[str, str, str, str]]:
        answer = await raw.ask(ListGroupsRequest(states), ListGroupsResponse)
        return {
            (g.group_id, g.protocol_type, g.group_state, g.group_type.lower())
            for g in answer.groups
            if g.group_id == group
        }

    assert await listed() == {(group, "raw", "Stable", "classic")}
    assert await listed("Stable") == {(group, "raw", "Stable", "classic")}
    assert await listed("Empty") == set()
    assert await delete() == NON_EMPTY
    await member.leave()
    assert await listed("Empty") == {(group, "raw", "Empty", "classic")}
    assert await delete() == 0
    assert await delete() == NOT_FOUND
    assert await listed() == set()


async def test_an_unknown_group_is_dead(raw: RawClient) -> None:
    group = await new_group(raw)
    found = await describe(raw, group)
    assert (found.error_code, found.group_state, found.members) == (0, "Dead", ())
