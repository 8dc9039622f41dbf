"""Lanes are shared whole, evenly, and stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from hypothesis import given
from hypothesis import strategies as st

from batuta.streams.lanes.assignor import Claim, LaneAssignor, share_lanes

if TYPE_CHECKING:
    from aiokafka.cluster import ClusterMetadata

LANES = st.integers(min_value=0, max_value=24)
MEMBERS = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=7, unique=True)
CLAIMS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(Claim, st.lists(st.integers(-2, 30), max_size=10), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)


@given(LANES, CLAIMS)
def test_each_lane_goes_to_one_member_and_shares_differ_by_one_at_most(
    lanes: int, claims: dict[str, Claim]
) -> None:
    shares = share_lanes(lanes, claims)
    assert set(shares) == set(claims)
    assert sorted(lane for share in shares.values() for lane in share) == list(range(lanes))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(LANES, CLAIMS)
def test_sharing_again_moves_nothing(lanes: int, claims: dict[str, Claim]) -> None:
    first = share_lanes(lanes, claims)
    again = share_lanes(lanes, {member: Claim(share, 1) for member, share in first.items()})
    assert again == first


@given(LANES, MEMBERS, st.data())
def test_a_member_that_leaves_moves_its_own_lanes_alone(
    lanes: int, members: list[str], data: st.DataObject
) -> None:
    before = share_lanes(lanes, dict.fromkeys(members, Claim()))
    left = data.draw(st.sampled_from(members))
    rest = {member: Claim(before[member], 1) for member in members if member != left}
    if rest:
        after = share_lanes(lanes, rest)
        assert all(set(before[member]) <= set(after[member]) for member in rest)


@given(LANES, MEMBERS)
def test_a_member_that_joins_takes_its_share_and_no_lane_moves_between_the_others(
    lanes: int, members: list[str]
) -> None:
    before = share_lanes(lanes, dict.fromkeys(members, Claim()))
    held = {member: Claim(share, 1) for member, share in before.items()}
    after = share_lanes(lanes, {**held, "new one": Claim()})
    assert all(set(after[member]) <= set(before[member]) for member in members)


def test_the_later_round_is_right_about_a_lane() -> None:
    slept, awake = Claim([0, 1], 3), Claim([0, 1, 2, 3], 4)
    assert share_lanes(4, {"a": slept, "b": awake}) == {"a": [2, 3], "b": [0, 1]}
    assert share_lanes(2, {"a": Claim([0], 3), "b": Claim([0], 4)})["b"] == [0]


class _Cluster:
    """Topic to partition count; a hidden topic has none."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def _assign(
    counts: dict[str, int], *members: LaneAssignor
) -> dict[str, ConsumerProtocolMemberAssignment]:
    reports = {f"m{n}": m.metadata({"events", "rekeyed"}) for n, m in enumerate(members)}
    given = members[0].assign(cast("ClusterMetadata", _Cluster(counts)), reports)
    for n, member in enumerate(members):
        wire = given[f"m{n}"].encode()
        member.on_assignment(ConsumerProtocolMemberAssignment.decode(wire))
    return given


def test_co_partitions_stay_together_even_of_a_topic_hidden_for_a_moment() -> None:
    members = [LaneAssignor() for _ in range(3)]
    for counts in ({"events": 7, "rekeyed": 7}, {"events": 7}):
        for assignment in _assign(counts, *members).values():
            by_topic = dict(assignment.assignment)
            assert by_topic["events"] == by_topic["rekeyed"]


def test_two_consumers_in_one_process_remember_apart() -> None:
    first, second = LaneAssignor(), LaneAssignor()
    _assign({"events": 4, "rekeyed": 4}, first, second)
    assert not set(first.claim.lanes) & set(second.claim.lanes)
    assert (first.claim.round_number, second.claim.round_number) == (1, 1)
    _assign({"events": 4, "rekeyed": 4}, second)
    assert (len(first.claim.lanes), len(second.claim.lanes)) == (2, 4)
    assert second.claim.round_number == 2


def test_a_member_of_another_version_holds_nothing() -> None:
    for said in (None, b"", b"\xff", b"[1, 2]", b'{"lanes": 3, "round": 1}', b'{"lanes": [1]}'):
        stranger = ConsumerProtocolMemberMetadata(0, ["events"], cast("bytes", said))
        own = LaneAssignor().metadata({"events"})
        cluster = cast("ClusterMetadata", _Cluster({"events": 4}))
        given = LaneAssignor().assign(cluster, {"a": own, "b": stranger})
        assert sorted(len(dict(a.assignment)["events"]) for a in given.values()) == [2, 2]
