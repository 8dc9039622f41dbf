"""A reader comes to the end of what was committed, and no further."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition

from batuta.schemas.errors import LaterError, OutputRefusedError
from batuta.streams.broker.messages_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.log_testing import eventually, read_all, read_to_end, reader_up_to, write

if TYPE_CHECKING:
    from conftest import Cluster

FETCH, END_TXN = 1, 26


async def test_a_reader_ends_though_the_last_offsets_are_no_records(cluster: Cluster) -> None:
    topic, log = await cluster.create("state"), cluster.log()
    narrow = await cluster.create("narrow", 1, {"max.message.bytes": "500"})
    await write(log, {(topic, 0): [(b"k", b"1", ()), (b"k", b"2", ())]})
    with pytest.raises(OutputRefusedError):
        await write(
            log, {(topic, 0): [(b"k", b"aborted", ())], (narrow, 0): [(b"k", b"x" * 900, ())]}
        )
    # Two records and a commit's marker; an aborted record and its marker.
    reader = await reader_up_to(log, TopicPartition(topic, 0), 5)
    assert (reader.beginning, reader.position, reader.end) == (0, 0, 5)
    found = await read_to_end(reader)
    assert [r.value for r in found] == [b"1", b"2"]
    assert reader.position == 5
    await reader.stop()


async def test_an_empty_partition_has_an_end(cluster: Cluster) -> None:
    topic, log = await cluster.create("state"), cluster.log()
    reader = log.reader(TopicPartition(topic, 0))
    await reader.start()
    assert (reader.beginning, reader.position, reader.end) == (0, 0, 0)
    await reader.stop()


async def test_an_open_transaction_is_behind_the_end(cluster: Cluster) -> None:
    topic, log = await cluster.create("state"), cluster.log()
    tp = TopicPartition(topic, 0)
    await write(log, {(topic, 0): [(b"k", b"1", ())]})
    producer = cluster.log(lossy=True).producer(TopicFactory.unique("id"))
    await producer.start()
    cluster.lose_requests(END_TXN)
    writing = asyncio.create_task(
        producer.transact({(topic, 0): [(b"k", b"open", ())]}, {}, "nobody")
    )
    await eventually(lambda: cluster.lost)
    assert [r.value for r in await read_all(log, tp, 1)] == [b"1"]
    cluster.heal()
    await writing
    assert [r.value for r in await read_all(log, tp, 2)] == [b"1", b"open"]
    await producer.discard()


async def test_a_reader_begins_where_it_is_told(cluster: Cluster) -> None:
    topic, log = await cluster.create("state"), cluster.log()
    await write(log, {(topic, 0): [(b"k", b"%d" % n, ()) for n in range(5)]})
    entry = DeleteRecordsTopic(topic, (DeleteRecordsPartition(0, 2),))
    await cluster.ask(DeleteRecordsRequest((entry,), 5_000), DeleteRecordsResponse, 2)
    reader = log.reader(TopicPartition(topic, 0))
    await reader.start()
    assert (reader.beginning, reader.end) == (2, 6)
    assert [r.value for r in await read_to_end(reader)] == [b"2", b"3", b"4"]
    reader.seek(3)
    assert [r.value for r in await read_to_end(reader)] == [b"3", b"4"]
    reader.seek(3)
    assert [r.value for r in await reader.read(1)] == [b"3"]
    assert reader.position == 4
    await reader.stop()


async def test_a_reader_that_is_given_nothing_says_so(cluster: Cluster) -> None:
    topic, log = await cluster.create("state"), cluster.log()
    await write(log, {(topic, 0): [(b"k", b"1", ())]})
    impatient = cluster.log(
        lossy=True,
        request_timeout_ms=1_000,
        rebalance_timeout_ms=900,
        session_timeout_ms=800,
        heartbeat_interval_ms=100,
    )
    reader = impatient.reader(TopicPartition(topic, 0))
    await reader.start()
    cluster.lose_requests(FETCH)
    reader.seek(0)
    with pytest.raises(LaterError, match="gives no record from 0 on"):
        await read_to_end(reader)
    cluster.heal()
    await reader.stop()
