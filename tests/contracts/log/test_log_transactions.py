"""What a transaction holds happens together or not at all, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from batuta.schemas.errors import LaterError, OutputRefusedError
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.batch_limits import batch_bytes
from batuta.streams.lanes.log import TransactionFailedError
from batuta.streams.lanes.log_testing import eventually, read_all, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from conftest import Cluster

    from batuta.streams.lanes.log import Destination, Log, Row
    from batuta.streams.lanes.log_testing import Seat

    Sit = Callable[..., Awaitable[Seat]]

PRODUCE, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 0, 22, 24, 26


def row(value: bytes | None, key: bytes | None = None) -> Row:
    return (key, value, ())


async def _write_as(
    log: Log,
    name: str,
    rows: Mapping[Destination, Sequence[Row]],
    offsets: Mapping[TopicPartition, int],
    group: str,
) -> None:
    """Write as `name`, and return when a successor has taken the name: nothing is under way."""
    producer, successor = log.producer(name), log.producer(name)
    await producer.start()
    try:
        await producer.transact(rows, offsets, group)
    finally:
        await producer.discard()
        await successor.start()
        await successor.discard()


async def test_what_is_committed_is_read_as_it_was_written(cluster: Cluster) -> None:
    topic, log = await cluster.create("out", 2), cluster.log()
    rows: list[Row] = [
        (b"key", b"value", (("one", b"1"), ("two", b""))),
        (None, b"keyless", ()),
        (b"gone", None, ()),
    ]
    await write(log, {(topic, 1): rows})
    found = await read_all(log, TopicPartition(topic, 1), 3)
    assert [(r.key, r.value, r.headers) for r in found] == rows
    assert [(r.topic, r.partition, r.offset) for r in found] == [(topic, 1, n) for n in range(3)]
    assert all(r.timestamp_ms > 1_600_000_000_000 for r in found)
    assert await read_all(log, TopicPartition(topic, 0)) == []


async def test_a_transaction_tells_how_far_each_partition_was_written(cluster: Cluster) -> None:
    first, second, log = await cluster.create("a", 2), await cluster.create("b"), cluster.log()
    large = b"x" * 400_000
    producer = log.producer(TopicFactory.unique("id"))
    await producer.start()
    one = await producer.transact({(first, 1): [row(b"1"), row(b"2")]}, {}, "nobody")
    # Behind the first transaction's marker; more than one batch's worth goes to `second`.
    rows = {(first, 1): [row(b"3")], (second, 0): [row(large) for _ in range(7)]}
    two = await producer.transact(rows, {}, "nobody")
    await producer.discard()
    assert one == {(first, 1): 2}
    assert two == {(first, 1): 4, (second, 0): 7}
    offsets = [r.offset for r in await read_all(log, TopicPartition(first, 1), 3)]
    assert offsets == [0, 1, 3]
    assert len(await read_all(log, TopicPartition(second, 0), 7)) == 7


async def test_offsets_travel_with_the_transaction(cluster: Cluster, sit: Sit) -> None:
    source, topic = await cluster.create("in", 2), await cluster.create("out")
    group, log = TopicFactory.unique("group"), cluster.log()
    tps = [TopicPartition(source, n) for n in range(2)]
    seat = await sit(group, source)
    assert [await seat.member.committed(tp) for tp in tps] == [None, None]
    name = TopicFactory.unique("id")
    await _write_as(log, name, {(topic, 0): [row(b"1")]}, {tps[0]: 5, tps[1]: 7}, group)
    await seat.until_committed(tps[0], 5)
    await seat.until_committed(tps[1], 7)
    await _write_as(log, name, {}, {tps[1]: 9}, group)
    await seat.until_committed(tps[1], 9)
    assert await seat.member.committed(tps[0]) == 5


async def test_a_refused_record_aborts_everything(cluster: Cluster, sit: Sit) -> None:
    source, topic = await cluster.create("in"), await cluster.create("out")
    narrow = await cluster.create("narrow", 1, {"max.message.bytes": "500"})
    group, log, tp = TopicFactory.unique("group"), cluster.log(), TopicPartition(source, 0)
    seat = await sit(group, source)
    name = TopicFactory.unique("id")
    await _write_as(log, name, {(topic, 0): [row(b"before")]}, {tp: 1}, group)
    rows = {(topic, 0): [row(b"aborted")], (narrow, 0): [row(b"x" * 1_000)]}
    with pytest.raises(OutputRefusedError) as refused:
        await _write_as(log, name, rows, {tp: 2}, group)
    assert not refused.value.retriable
    assert narrow in str(refused.value)
    await seat.until_committed(tp, 1)
    await _write_as(log, name, {(topic, 0): [row(b"after")]}, {tp: 3}, group)
    values = [r.value for r in await read_all(log, TopicPartition(topic, 0), 2)]
    assert values == [b"before", b"after"]
    assert await read_all(log, TopicPartition(narrow, 0)) == []
    await seat.until_committed(tp, 3)


async def test_a_batch_refused_for_its_size_is_taken_in_smaller_ones(cluster: Cluster) -> None:
    narrow = await cluster.create("narrow", 1, {"max.message.bytes": "2000"})
    log, refused = cluster.log(), 0
    rows = {(narrow, 0): [row(b"%03d" % n * 50) for n in range(100)]}
    while not await _written(log, rows):
        refused += 1
        assert refused < 5, "smaller batches are refused as well"
    assert refused
    with pytest.raises(OutputRefusedError) as alone:
        await write(log, {(narrow, 0): [row(b"x" * 3_000)]})
    assert not alone.value.retriable
    size_bytes = batch_bytes(row(b"x" * 3_000))
    assert (alone.value.topic, alone.value.size_bytes) == (narrow, size_bytes)
    assert await log.batch_bytes_max(narrow) == 2_000
    found = await read_all(log, TopicPartition(narrow, 0), 100)
    assert [r.value for r in found] == [value for _, value, _ in rows[narrow, 0]]


async def _written(log: Log, rows: Mapping[Destination, Sequence[Row]]) -> bool:
    try:
        await write(log, rows)
    except OutputRefusedError as refused:
        return not refused.retriable
    return True


async def test_a_second_producer_of_an_id_fences_the_first(cluster: Cluster) -> None:
    topic, log, name = await cluster.create("out"), cluster.log(), TopicFactory.unique("id")
    first, second = log.producer(name), cluster.log().producer(name)
    await first.start()
    await first.transact({(topic, 0): [row(b"first")]}, {}, "nobody")
    await second.start()
    with pytest.raises(TransactionFailedError) as fenced:
        await first.transact({(topic, 0): [row(b"zombie")]}, {}, "nobody")
    assert fenced.value.outcome == "aborted"
    assert fenced.value.fenced
    await second.transact({(topic, 0): [row(b"second")]}, {}, "nobody")
    await first.discard()
    await second.discard()
    values = [r.value for r in await read_all(log, TopicPartition(topic, 0), 2)]
    assert values == [b"first", b"second"]


async def test_what_a_former_owner_left_open_is_aborted(cluster: Cluster) -> None:
    topic, log, name = await cluster.create("out"), cluster.log(), TopicFactory.unique("id")
    tp = TopicPartition(topic, 0)
    former = cluster.log(lossy=True).producer(name)
    await former.start()
    cluster.lose_requests(END_TXN)
    writing = asyncio.create_task(former.transact({(topic, 0): [row(b"open")]}, {}, "nobody"))
    await eventually(lambda: cluster.lost)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await former.discard()
    assert await read_all(log, tp) == []
    owner = log.producer(name)
    await owner.start()
    assert await owner.transact({(topic, 0): [row(b"mine")]}, {}, "nobody") == {(topic, 0): 3}
    await owner.discard()
    assert [r.value for r in await read_all(log, tp, 1)] == [b"mine"]


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_a_commit_that_nobody_saw_end_is_unknown(cluster: Cluster, what: str) -> None:
    topic = await cluster.create("out")
    tp = TopicPartition(topic, 0)
    log = cluster.log(lossy=True, transaction_timeout_ms=700)
    producer = log.producer(TopicFactory.unique("id"))
    await producer.start()
    if what == "answer":
        cluster.lose_answers(END_TXN)
    else:
        cluster.lose_requests(END_TXN)
    with pytest.raises(TransactionFailedError) as failed:
        await producer.transact({(topic, 0): [row(b"perhaps")]}, {}, "nobody")
    assert failed.value.outcome == "unknown"
    assert not failed.value.fenced
    await producer.discard()
    happened = what == "answer"
    assert len(await read_all(cluster.log(), tp, int(happened))) == happened


@pytest.mark.parametrize("api", [INIT_PRODUCER_ID, ADD_PARTITIONS, PRODUCE, END_TXN])
async def test_a_lost_answer_is_asked_for_again_and_nothing_doubles(
    cluster: Cluster, api: int
) -> None:
    topic = await cluster.create("out")
    tp = TopicPartition(topic, 0)
    producer = cluster.log(lossy=True).producer(TopicFactory.unique("id"))

    async def write_twice() -> None:
        await producer.start()
        for value in (b"1", b"2"):
            await producer.transact({(topic, 0): [row(value)]}, {}, "nobody")

    cluster.lose_answers(api)
    writing = asyncio.create_task(write_twice())
    await eventually(lambda: cluster.lost)
    cluster.heal()
    await writing
    await producer.discard()
    assert [r.value for r in await read_all(cluster.log(), tp, 2)] == [b"1", b"2"]


async def test_nothing_before_its_commit_was_asked_for_is_committed(cluster: Cluster) -> None:
    topic = await cluster.create("out")
    tp = TopicPartition(topic, 0)
    log = cluster.log(lossy=True, transaction_timeout_ms=700)
    producer = log.producer(TopicFactory.unique("id"))
    await producer.start()
    cluster.lose_requests(PRODUCE)
    with pytest.raises(TransactionFailedError) as failed:
        await producer.transact({(topic, 0): [row(b"never")]}, {}, "nobody")
    assert failed.value.outcome == "aborted"
    await producer.discard()
    assert await read_all(cluster.log(), tp) == []


async def test_a_producer_is_told_partition_counts_and_what_is_unknown(cluster: Cluster) -> None:
    three, one = await cluster.create("three", 3), await cluster.create("one")
    producer = cluster.log(transaction_timeout_ms=500).producer(TopicFactory.unique("id"))
    await producer.start()
    assert await producer.partition_counts([three, one]) == {three: 3, one: 1}
    with pytest.raises(LaterError, match="knows no topic nowhere"):
        await producer.partition_counts([three, "nowhere"])
    await producer.discard()


async def test_a_producer_that_is_discarded_writes_nothing_more(cluster: Cluster) -> None:
    topic = await cluster.create("out")
    tp = TopicPartition(topic, 0)
    producer = cluster.log(lossy=True, transaction_timeout_ms=700).producer(
        TopicFactory.unique("id")
    )
    await producer.start()
    cluster.lose_requests(PRODUCE)
    writing = asyncio.create_task(producer.transact({(topic, 0): [row(b"never")]}, {}, "nobody"))
    await eventually(lambda: cluster.lost)
    await producer.discard()
    cluster.heal()
    with pytest.raises(TransactionFailedError) as failed:
        await writing
    assert failed.value.outcome == "aborted"
    assert await read_all(cluster.log(), tp) == []


async def test_a_transaction_of_nothing_is_none(cluster: Cluster) -> None:
    topic, log = await cluster.create("out"), cluster.log()
    assert await write(log, {}) == {}
    assert await write(log, {(topic, 0): []}) == {}
    reader = log.reader(TopicPartition(topic, 0))
    await reader.start()
    assert reader.end == 0
    await reader.stop()
