"""A static member comes back to what it had; of two under one instance id the older is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.schemas.errors import InstanceIdTakenError
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.log_testing import Seat, eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Cluster

    Sit = Callable[..., Awaitable[Seat]]

FENCED_INSTANCE_ID = 82


async def _shared(*seats: Seat) -> None:
    """Wait until these seats have all of three lanes."""
    await eventually(lambda: sum(len(seat.lanes) for seat in seats) == 3)
    for seat in seats:
        assert await seat.member.heartbeat_error_code() == 0


async def test_a_restart_within_the_session_moves_no_lane(cluster: Cluster, sit: Sit) -> None:
    topic, group = await cluster.create("in", 3), TopicFactory.unique("group")
    first = await sit(group, topic, instance_id="one")
    second = await sit(group, topic, instance_id="two")
    await _shared(first, second)
    lanes, stayed, rounds = first.lanes, second.lanes, second.rounds
    # The first to come leads the group: its successor must not share the lanes out anew.
    await first.member.stop()
    again = await sit(group, topic, instance_id="one")
    assert again.lanes == lanes
    await _shared(again, second)
    assert (second.lanes, second.rounds) == (stayed, rounds)
    await second.member.stop()
    follower = await sit(group, topic, instance_id="two")
    assert follower.lanes == stayed
    await _shared(again, follower)
    assert (again.lanes, again.rounds) == (lanes, 1)


async def test_of_two_under_one_instance_id_the_older_is_told(cluster: Cluster, sit: Sit) -> None:
    topic, group = await cluster.create("in", 3), TopicFactory.unique("group")
    older = await sit(group, topic, instance_id="one")
    lanes = older.lanes
    older.member.raise_error()
    newer = await sit(group, topic, instance_id="one")
    assert newer.lanes == lanes
    assert await older.member.heartbeat_error_code() == FENCED_INSTANCE_ID
    with pytest.raises(InstanceIdTakenError, match="'one'"):
        older.member.raise_error()
    await older.member.stop()
    assert await newer.member.heartbeat_error_code() == 0
    newer.member.raise_error()


async def test_it_notices_by_itself_and_does_not_take_the_place_back(
    cluster: Cluster, sit: Sit
) -> None:
    topic, group = await cluster.create("in", 3), TopicFactory.unique("group")
    older = await sit(group, topic, instance_id="one")
    newer = await sit(group, topic, instance_id="one")
    third = await sit(group, topic, instance_id="two")  # a rebalance, that older hears of as well

    def told() -> bool:
        try:
            older.member.raise_error()
        except InstanceIdTakenError:
            return True
        return False

    await eventually(told)
    await _shared(newer, third)
    newer.member.raise_error()
