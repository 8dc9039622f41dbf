from __future__ import annotations

import pytest

from batuta.streams.broker.batches import read_header
from batuta.streams.broker.messages_offsets import (
    FetchedPartition,
)
from batuta.streams.broker.messages_records import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from batuta.streams.broker.messages_transactions import (
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.raw_client import RawClient, eventually
from batuta.streams.broker.raw_producer import (
    Producer,
    committed_offset,
    fetch,
    producer_of,
    until_stable,
)
from batuta.streams.broker.testing import TopicFactory

UNKNOWN_TOPIC, INVALID_REQUEST, STALE_EPOCH, BAD_STATE, BAD_MAPPING = 3, 42, 47, 48, 49
BAD_TIMEOUT, CONCURRENT, NOT_ATTEMPTED, UNSTABLE, FENCED = 50, 51, 55, 88, 90


async def test_epochs_count_up(raw: RawClient) -> None:
    first = await producer_of(raw)
    second = await Producer(raw, first.transactional_id).init()
    third = await Producer(raw, first.transactional_id).init(version=0)
    assert {first.producer_id, second.producer_id, third.producer_id} == {first.producer_id}
    assert [first.epoch, second.epoch, third.epoch] == [0, 1, 2]


async def test_an_open_transaction_costs_two_epochs(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("open")
    first = await producer_of(raw)
    await first.add(topic)
    second = await Producer(raw, first.transactional_id).init()
    assert second.epoch == first.epoch + 2


async def test_a_producer_may_ask_for_the_next_epoch_of_its_own(raw: RawClient) -> None:
    first = await producer_of(raw)
    request = InitProducerIdRequest(first.transactional_id, 60_000, first.producer_id, first.epoch)
    mine = await raw.ask(request, InitProducerIdResponse)
    stale = await raw.ask(
        InitProducerIdRequest(first.transactional_id, 60_000, first.producer_id + 99, 0),
        InitProducerIdResponse,
    )
    stale_v3 = await raw.ask(
        InitProducerIdRequest(first.transactional_id, 60_000, first.producer_id + 99, 0),
        InitProducerIdResponse,
        3,
    )
    assert (mine.error_code, mine.producer_epoch) == (0, 1)
    assert (stale.error_code, stale_v3.error_code) == (FENCED, STALE_EPOCH)


@pytest.mark.parametrize(
    ("transactional_id", "timeout_ms", "code"),
    [("", 1000, INVALID_REQUEST), ("tx", 0, BAD_TIMEOUT), ("tx", 900_001, BAD_TIMEOUT)],
)
async def test_bad_beginnings(
    raw: RawClient, transactional_id: str, timeout_ms: int, code: int
) -> None:
    await raw.wait_for_coordinators("tx")
    request = InitProducerIdRequest(transactional_id, timeout_ms)
    assert (await raw.ask(request, InitProducerIdResponse)).error_code == code


async def test_a_commit_shows_its_records_and_takes_an_offset(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("commit")
    producer = await producer_of(raw)
    assert await producer.add(topic) == [0]
    assert await producer.produce(topic, b"a", 0) == 0
    hidden = await fetch(raw, topic)
    shown = await fetch(raw, topic, committed=False)
    assert (hidden.high_watermark, hidden.last_stable_offset, hidden.records) == (1, 0, b"")
    assert (hidden.aborted_transactions, shown.aborted_transactions) == ((), None)
    assert read_header(shown.records or b"").producer_id == producer.producer_id
    assert await producer.end(commit=True) == 0
    found = await until_stable(raw, topic, 2)
    assert (found.high_watermark, found.aborted_transactions) == (2, ())
    marker = (found.records or b"")[read_header(found.records or b"").size :]
    header = read_header(marker)
    assert (header.base_offset, header.is_control, header.is_transactional) == (1, True, True)
    assert (header.producer_id, header.producer_epoch) == (producer.producer_id, producer.epoch)
    assert (header.base_sequence, header.record_count) == (-1, 1)


async def test_an_abort_is_listed_for_readers(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("abort")
    producer = await producer_of(raw)
    for sequence, commit in ((0, True), (1, False), (2, True), (3, False)):
        await producer.add(topic)
        assert await producer.produce(topic, b"x", sequence) == 0
        assert await producer.end(commit=commit) == 0
        await until_stable(raw, topic, 2 * sequence + 2)
    everything = await fetch(raw, topic)
    later = await fetch(raw, topic, 4)
    aborts = [(a.producer_id, a.first_offset) for a in everything.aborted_transactions or ()]
    assert aborts == [(producer.producer_id, 2), (producer.producer_id, 6)]
    assert [a.first_offset for a in later.aborted_transactions or ()] == [6]
    assert (await fetch(raw, topic, committed=False)).aborted_transactions is None


async def test_the_earliest_open_transaction_holds_readers_back(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("stable")
    slow, fast = await producer_of(raw), await producer_of(raw)
    for producer in (slow, fast):
        await producer.add(topic)
        assert await producer.produce(topic, b"x", 0) == 0
    await fast.end(commit=True)

    async def marked() -> bool:
        return (await fetch(raw, topic)).high_watermark == 3

    await eventually(marked)
    held = await fetch(raw, topic)
    assert (held.last_stable_offset, held.records) == (0, b"")
    assert await list_latest(raw, topic, committed=True) == 0
    assert await list_latest(raw, topic, committed=False) == 3
    await slow.end(commit=False)
    freed = await until_stable(raw, topic, 4)
    assert [a.producer_id for a in freed.aborted_transactions or ()] == [slow.producer_id]


async def list_latest(raw: RawClient, topic: str, *, committed: bool) -> int:
    entry = ListOffsetsTopic(topic, (ListOffsetsPartition(0, -1, -1),))
    request = ListOffsetsRequest(-1, int(committed), (entry,))
    return (await raw.ask(request, ListOffsetsResponse)).topics[0].partitions[0].offset


async def test_a_partition_without_records_gets_a_marker_too(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("unused")
    producer = await producer_of(raw)
    await producer.add(topic)
    await producer.end(commit=False)
    found = await until_stable(raw, topic, 1)
    assert (found.high_watermark, found.aborted_transactions) == (1, ())


async def test_records_outside_a_transaction_are_refused(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("outside", partitions=2)
    producer = await producer_of(raw)
    assert await producer.produce(topic, b"x", 0) == BAD_STATE
    await producer.add(topic, 0)
    assert await producer.produce(topic, b"x", 0, partition=1) == BAD_STATE
    assert await producer.produce(topic, b"x", 0, partition=0) == 0


async def test_unknown_partitions_cannot_be_added(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("unknown")
    producer = await producer_of(raw)
    assert await producer.add(topic, 0, 5) == [NOT_ATTEMPTED, UNKNOWN_TOPIC]
    assert await producer.end(commit=True) == BAD_STATE


async def test_an_end_without_a_beginning_is_refused(raw: RawClient) -> None:
    producer = await producer_of(raw)
    assert await producer.end(commit=True) == BAD_STATE
    assert await producer.end(commit=False) == BAD_STATE


@pytest.mark.parametrize("commit", [True, False])
async def test_the_same_end_twice_is_fine_and_the_other_is_not(
    raw: RawClient,
    topics: TopicFactory,
    commit: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    topic = await topics.create("twice")
    producer = await producer_of(raw)
    await producer.add(topic)
    await producer.produce(topic, b"x", 0)
    assert await producer.end(commit=commit) == 0
    await until_stable(raw, topic, 2)
    assert await producer.end(commit=commit) == 0
    assert await producer.end(commit=not commit) == BAD_STATE


async def test_an_unknown_producer_is_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("stranger")
    known = await producer_of(raw)
    strangers = (
        Producer(raw, TopicFactory.unique("never-seen"), known.producer_id, 0),
        Producer(raw, known.transactional_id, known.producer_id + 12345, 0),
    )
    for stranger in strangers:
        await raw.wait_for_coordinators(stranger.transactional_id)
        assert await stranger.add(topic) == [BAD_MAPPING]
        assert await stranger.add_offsets("group") == BAD_MAPPING
        assert await stranger.end(commit=True) == BAD_MAPPING
        assert await stranger.produce(topic, b"x", 0) == BAD_MAPPING


async def test_a_second_init_fences_the_first(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("fence")
    group = TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    zombie = await producer_of(raw)
    await zombie.add(topic)
    await zombie.produce(topic, b"lost", 0)
    owner = await Producer(raw, zombie.transactional_id).init()
    found = await until_stable(raw, topic, 2)
    assert [a.first_offset for a in found.aborted_transactions or ()] == [0]
    assert await zombie.produce(topic, b"late", 1) == STALE_EPOCH
    assert await zombie.add(topic) == [FENCED]
    assert await zombie.add(topic, version=1) == [STALE_EPOCH]
    assert await zombie.add_offsets(group) == FENCED
    assert await zombie.add_offsets(group, version=1) == STALE_EPOCH
    assert await zombie.commit_offset(group, topic, 5) == STALE_EPOCH
    assert await zombie.end(commit=True) == FENCED
    assert await zombie.end(commit=True, version=1) == STALE_EPOCH
    assert await owner.add(topic) == [0]
    assert await owner.produce(topic, b"kept", 0) == 0
    assert await owner.end(commit=True) == 0
    await until_stable(raw, topic, 4)


async def test_a_zombie_between_transactions_is_fenced_too(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("idle")
    zombie = await producer_of(raw)
    owner = await Producer(raw, zombie.transactional_id).init()
    assert await zombie.produce(topic, b"x", 0) == STALE_EPOCH
    await owner.add(topic)
    assert await owner.produce(topic, b"x", 0) == 0
    assert await zombie.produce(topic, b"x", 0) == STALE_EPOCH
    assert await owner.end(commit=True) == 0


async def test_a_transaction_that_takes_too_long_is_aborted(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("timeout")
    transactional_id = TopicFactory.unique("tx")
    await raw.wait_for_coordinators(transactional_id)
    producer = await Producer(raw, transactional_id).init(timeout_ms=1000)
    await producer.add(topic)
    await producer.produce(topic, b"x", 0)
    found = await until_stable(raw, topic, 2)
    assert [a.first_offset for a in found.aborted_transactions or ()] == [0]
    assert await producer.end(commit=True) == FENCED
    assert await producer.produce(topic, b"y", 1) == STALE_EPOCH


async def test_offsets_count_only_when_committed(raw: RawClient, topics: TopicFactory) -> None:
    topic, group = await topics.create("offsets"), TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    producer = await producer_of(raw)
    assert await producer.add_offsets(group) == 0
    assert await producer.commit_offset(group, topic, 5) == 0
    assert (await committed_offset(raw, group, topic)).offset == -1
    unstable = await committed_offset(raw, group, topic, stable=True)
    assert (unstable.error_code, unstable.offset) == (UNSTABLE, -1)
    await producer.end(commit=True)

    async def arrived() -> FetchedPartition | None:
        found = await committed_offset(raw, group, topic, stable=True)
        return found if found.offset == 5 else None

    found = await eventually(arrived)
    assert found == FetchedPartition(0, 5, 0, "note", 0)
    await producer.add_offsets(group)
    assert await producer.commit_offset(group, topic, 9) == 0
    await producer.end(commit=False)

    async def settled() -> FetchedPartition | None:
        now = await committed_offset(raw, group, topic, stable=True)
        return now if now.error_code == 0 else None

    kept = await eventually(settled)
    assert kept is not None
    assert kept.offset == 5


async def test_offsets_outside_a_transaction_are_refused(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic, group = await topics.create("offsets"), TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    producer = await producer_of(raw)
    assert await producer.commit_offset(group, topic, 5) == BAD_STATE


async def test_offsets_of_another_generation_are_refused(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic, group = await topics.create("offsets"), TopicFactory.unique("group")
    await raw.wait_for_coordinators(group)
    producer = await producer_of(raw)
    await producer.add_offsets(group)
    assert await producer.commit_offset(group, topic, 5, 3, "somebody") == 22
    assert await producer.commit_offset("", topic, 5) == 24
    assert await producer.end(commit=False) == 0
