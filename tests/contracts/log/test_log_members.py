"""What a group gives its members, what it takes, and what a member reads of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    InvalidSessionTimeoutError,
    KafkaError,
    OffsetOutOfRangeError,
)

from batuta.schemas.errors import OutputRefusedError
from batuta.streams.broker.messages_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.log_testing import Seat, eventually, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Cluster

    Sit = Callable[..., Awaitable[Seat]]

FETCH, HEARTBEAT = 1, 12
#: Illegal generation, unknown member, rebalance in progress.
NOT_OURS = {22, 25, 27}


async def test_one_member_has_every_lane_paused_until_it_is_let_flow(
    cluster: Cluster, sit: Sit
) -> None:
    topic, log = await cluster.create("in", 2), cluster.log()
    tp = TopicPartition(topic, 1)
    await write(log, {(topic, 1): [(None, b"%d" % n, ()) for n in range(5)]})
    seat = await sit(TopicFactory.unique("group"), topic)
    assert seat.given == [TopicPartition(topic, 0), tp]
    assert seat.member.assignment() == {TopicPartition(topic, 0), tp}
    assert seat.member.partition_count(topic) == 2
    assert seat.member.partition_count("nowhere") is None
    seat.member.seek(tp, 2)
    assert await seat.member.fetch([tp], 10, 50) == {}
    seat.member.resume(tp)
    assert [r.offset for r in await seat.read(tp, 3)] == [2, 3, 4]
    seat.member.raise_error()


async def test_two_members_share_lanes_not_partitions(cluster: Cluster, sit: Sit) -> None:
    topics = [await cluster.create(name, 4) for name in ("in", "labels")]
    group = TopicFactory.unique("group")
    first = await sit(group, *topics)
    assert first.lanes == [0, 1, 2, 3]
    second = await sit(group, *topics)
    await eventually(lambda: first.given is not None and second.given is not None)
    for seat in (first, second):
        assert seat.given is not None
        assert set(seat.given) == {TopicPartition(t, n) for t in topics for n in seat.lanes}
        assert len(seat.lanes) == 2
        assert await seat.member.heartbeat_error_code() == 0
    assert sorted(first.lanes + second.lanes) == [0, 1, 2, 3]


async def test_lanes_go_back_to_who_stays(cluster: Cluster, sit: Sit) -> None:
    topic, group = await cluster.create("in", 3), TopicFactory.unique("group")
    first, second = await sit(group, topic), await sit(group, topic)
    await eventually(lambda: len(first.lanes) + len(second.lanes) == 3)
    stayed = first.lanes
    await second.member.stop()
    await eventually(lambda: first.lanes == [0, 1, 2])
    assert set(stayed) < set(first.lanes)
    assert first.rounds == 3


async def test_a_member_reads_on_from_where_it_was_and_passes_markers(
    cluster: Cluster, sit: Sit
) -> None:
    topic, log = await cluster.create("in"), cluster.log()
    tp = TopicPartition(topic, 0)
    for start in (0, 4):
        rows = [(None, b"%d" % n, ()) for n in range(start, start + 4)]
        await write(log, {(topic, 0): rows})
    seat = await sit(TopicFactory.unique("group"), topic)
    await seat.read_from(tp, 0)
    first = await seat.member.fetch([tp], 3, 5_000)
    assert [r.offset for r in first[tp]] == [0, 1, 2]
    assert await seat.member.position(tp) == 3
    assert [r.value for r in await seat.read(tp, 5)] == [b"3", b"4", b"5", b"6", b"7"]
    assert await seat.member.fetch([tp], 3, 200) == {}
    # Two markers, at offsets 4 and 9.
    assert await seat.member.position(tp) == 10
    assert seat.member.highwater(tp) == 10
    seat.member.seek(tp, 8)
    assert [r.value for r in await seat.read(tp, 1)] == [b"7"]


async def test_a_member_reads_nothing_that_was_aborted(cluster: Cluster, sit: Sit) -> None:
    topic, log = await cluster.create("in"), cluster.log()
    narrow = await cluster.create("narrow", 1, {"max.message.bytes": "500"})
    tp = TopicPartition(topic, 0)
    await write(log, {(topic, 0): [(None, b"kept", ())]})
    rows = {(topic, 0): [(None, b"aborted", ())], (narrow, 0): [(None, b"x" * 900, ())]}
    for _ in range(2):
        with pytest.raises(OutputRefusedError):
            await write(log, rows)
    seat = await sit(TopicFactory.unique("group"), topic)
    await seat.read_from(tp, 0)
    assert [r.value for r in await seat.read(tp, 1)] == [b"kept"]
    await _until_position(seat, tp, 6)
    await write(log, {(topic, 0): [(None, b"later", ())]})
    assert [(r.offset, r.value) for r in await seat.read(tp, 1)] == [(6, b"later")]


async def test_what_was_fetched_and_not_taken_is_fetched_again_after_a_pause(
    cluster: Cluster, sit: Sit
) -> None:
    topic, log = await cluster.create("in"), cluster.log()
    tp = TopicPartition(topic, 0)
    await write(log, {(topic, 0): [(None, b"%d" % n, ()) for n in range(6)]})
    seat = await sit(TopicFactory.unique("group"), topic)
    await seat.read_from(tp, 0)
    assert [r.value for r in await seat.read(tp, 2)] == [b"0", b"1"]
    seat.member.pause(tp)
    assert await seat.member.fetch([tp], 10, 50) == {}
    assert await seat.member.position(tp) == 2
    seat.member.resume(tp)
    assert [r.value for r in await seat.read(tp, 4)] == [b"2", b"3", b"4", b"5"]


async def test_an_offset_outside_the_log_is_said(cluster: Cluster, sit: Sit) -> None:
    topic, log = await cluster.create("in"), cluster.log()
    tp = TopicPartition(topic, 0)
    await write(log, {(topic, 0): [(None, b"%d" % n, ()) for n in range(6)]})
    entry = DeleteRecordsTopic(topic, (DeleteRecordsPartition(0, 4),))
    await cluster.ask(DeleteRecordsRequest((entry,), 5_000), DeleteRecordsResponse, 2)
    seat = await sit(TopicFactory.unique("group"), topic)
    assert await seat.member.beginning_offsets([tp]) == {tp: 4}
    for outside in (2, 99):
        await seat.read_from(tp, outside)
        with pytest.raises(OffsetOutOfRangeError):
            await seat.read(tp, 1)
    await seat.read_from(tp, 4)
    assert [r.value for r in await seat.read(tp, 2)] == [b"4", b"5"]


async def test_what_is_not_assigned_has_no_position(cluster: Cluster, sit: Sit) -> None:
    topic = await cluster.create("in")
    seat = await sit(TopicFactory.unique("group"), topic)
    with pytest.raises(IllegalStateError):
        await seat.member.position(TopicPartition(topic, 7))
    with pytest.raises(IllegalStateError):
        seat.member.seek(TopicPartition(topic, 7), 0)


async def test_who_sends_no_heartbeat_loses_its_lanes_and_is_told(
    cluster: Cluster, sit: Sit
) -> None:
    topic, group = await cluster.create("in", 2), TopicFactory.unique("group")
    silent = await sit(group, topic, log=cluster.log(lossy=True))
    assert await silent.member.heartbeat_error_code() == 0
    cluster.lose_requests(HEARTBEAT)
    successor = await sit(group, topic)
    await eventually(lambda: successor.lanes == [0, 1])
    assert await successor.member.heartbeat_error_code() == 0
    cluster.heal()
    assert await _told(silent) in NOT_OURS


async def test_an_abandoned_member_says_nothing_to_the_group(cluster: Cluster, sit: Sit) -> None:
    topic, group = await cluster.create("in", 2), TopicFactory.unique("group")
    first, second = await sit(group, topic), await sit(group, topic)
    await eventually(lambda: len(first.lanes) == len(second.lanes) == 1)
    await second.member.abandon()
    # Its session is not over: had it left, the group would be preparing a rebalance by now.
    assert await first.member.heartbeat_error_code() == 0
    await eventually(lambda: first.lanes == [0, 1])


async def test_a_member_whose_fetches_are_lost_stops_and_reads_on_elsewhere(
    cluster: Cluster, sit: Sit
) -> None:
    topic, group = await cluster.create("in"), TopicFactory.unique("group")
    tp = TopicPartition(topic, 0)
    await write(cluster.log(), {(topic, 0): [(None, b"1", ())]})
    cut_off = await sit(group, topic, log=cluster.log(lossy=True))
    cluster.lose_requests(FETCH)
    await cut_off.read_from(tp, 0)
    for _ in range(3):
        assert await cut_off.member.fetch([tp], 10, 50) == {}
    assert cluster.lost
    await cut_off.member.stop()
    successor = await sit(group, topic)
    await successor.read_from(tp, 0)
    assert [r.value for r in await successor.read(tp, 1)] == [b"1"]


async def test_who_the_group_will_never_take_is_told(cluster: Cluster, sit: Sit) -> None:
    topic = await cluster.create("in")
    log = cluster.log(
        session_timeout_ms=2_000_000, rebalance_timeout_ms=2_100_000, request_timeout_ms=2_200_000
    )
    with pytest.raises(KafkaError) as refused:
        await sit(TopicFactory.unique("group"), topic, log=log)
    assert InvalidSessionTimeoutError.__name__ in repr(refused.value)


async def _told(seat: Seat) -> int:
    """The first answer that its own heartbeat gets."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await seat.member.heartbeat_error_code()
            except KafkaError:
                await asyncio.sleep(0.01)


async def _until_position(seat: Seat, tp: TopicPartition, position: int) -> None:
    async with asyncio.timeout(10):
        while await seat.member.position(tp) < position:
            assert await seat.member.fetch([tp], 10, 20) == {}
