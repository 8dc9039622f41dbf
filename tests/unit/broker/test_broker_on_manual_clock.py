from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import pytest

from batuta.streams.broker.broker import Caller, Dropped
from batuta.streams.broker.codec import MalformedRequestError
from batuta.streams.broker.faults import Fault, Faults
from batuta.streams.broker.manual_driver import ManualDriver
from batuta.streams.broker.messages_cluster import MetadataRequest, MetadataResponse
from batuta.streams.broker.messages_groups import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupProtocol,
    JoinGroupRequest,
    JoinGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from batuta.streams.broker.messages_offsets import TopicPartitions
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ProducePartition,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.messages_transactions import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.raw_client import build_batch

if TYPE_CHECKING:
    from batuta.streams.broker.pending import Pending

TOPIC = "events"


class Driver(ManualDriver):
    """A broker with faults and one topic."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        super().__init__(faults=Faults(faults, seed))
        self.broker.state.topics.create(TOPIC, 2, {})


def value_of(pending: Pending[object]) -> object:
    assert pending.done
    found: list[object] = []
    pending.then(found.append)
    return found[0]


def produce(*values: bytes) -> ProduceRequest:
    entry = ProducePartition(0, build_batch(values, first_timestamp_ms=1_599_999_999_000))
    return ProduceRequest(None, -1, 1000, (ProduceTopic(TOPIC, (entry,)),))


def fetch(*, wait_ms: int, committed: bool = False) -> FetchRequest:
    entry = FetchPartition(0, fetch_offset=0, max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1,
        isolation_level=int(committed),
        topics=(FetchTopic(TOPIC, partitions=(entry,)),),
    )


def test_a_long_poll_ends_exactly_when_its_time_is_over() -> None:
    driver = Driver()
    polling = driver.start(fetch(wait_ms=500))
    driver.clock.advance(499)
    assert not polling.done
    driver.clock.advance(1)
    assert cast("FetchResponse", value_of(polling)).topics[0].partitions[0].records == b""


def test_a_long_poll_wakes_once_for_a_whole_request() -> None:
    driver = Driver()
    polling = driver.start(fetch(wait_ms=500))
    driver.ask(produce(b"a"), ProduceResponse)
    driver.ask(produce(b"b"), ProduceResponse)
    driver.clock.advance(0)
    found = cast("FetchResponse", value_of(polling)).topics[0].partitions[0]
    assert found.high_watermark == 2


def test_a_session_ends_exactly_when_its_time_is_over() -> None:
    driver = Driver()
    protocols = (JoinGroupProtocol("range", b""),)
    join = JoinGroupRequest("group", 6000, 6000, "", None, "consumer", protocols)
    joined = driver.ask(join, JoinGroupResponse, 2)
    sync = SyncGroupRequest("group", joined.generation_id, joined.member_id)
    assert driver.ask(sync, SyncGroupResponse).error_code == 0
    beat = HeartbeatRequest("group", joined.generation_id, joined.member_id)
    driver.clock.advance(5999)
    assert driver.ask(beat, HeartbeatResponse).error_code == 0
    driver.clock.advance(5999)
    assert driver.ask(beat, HeartbeatResponse).error_code == 0
    driver.clock.advance(6000)
    assert driver.ask(beat, HeartbeatResponse).error_code == 25


def test_a_transaction_ends_exactly_when_its_time_is_over() -> None:
    driver = Driver()
    given = driver.ask(InitProducerIdRequest("tx", 1000), InitProducerIdResponse)
    owner = (given.producer_id, given.producer_epoch)
    add = AddPartitionsToTxnRequest("tx", *owner, (TopicPartitions(TOPIC, (0,)),))
    driver.ask(add, AddPartitionsToTxnResponse)
    driver.clock.advance(999)
    log = driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    assert log.end_offset == 0
    driver.clock.advance(1)
    assert log.end_offset == 1
    end = EndTxnRequest("tx", *owner, committed=True)
    assert driver.ask(end, EndTxnResponse).error_code == 90


def test_an_epoch_that_runs_out_makes_a_new_producer() -> None:
    driver = Driver()
    seen = [
        driver.ask(InitProducerIdRequest("tx", 1000), InitProducerIdResponse) for _ in range(0x7FFF)
    ]
    identities = [(answer.producer_id, answer.producer_epoch) for answer in seen]
    assert len(set(identities)) == len(identities)
    assert {producer_id for producer_id, _ in identities} == {1000, 1001}


def test_a_fault_refuses_as_often_as_it_is_told() -> None:
    driver = Driver(Fault("Produce", error_code=19, count=2))
    codes = [driver.ask(produce(b"x"), ProduceResponse).topics[0].partitions[0] for _ in range(3)]
    assert [(code.error_code, code.base_offset) for code in codes] == [(19, -1), (19, -1), (0, 0)]


def test_a_lost_answer_is_not_a_lost_request() -> None:
    driver = Driver(Fault("Produce", drop_connection=True, after_handling=True, count=1))
    assert isinstance(value_of(driver.start(produce(b"x"))), Dropped)
    log = driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    assert log.end_offset == 1


def test_a_dropped_request_leaves_no_trace() -> None:
    driver = Driver(Fault("Produce", drop_connection=True, count=1))
    assert isinstance(value_of(driver.start(produce(b"x"))), Dropped)
    log = driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    assert log.end_offset == 0


def test_a_delayed_request_happens_late() -> None:
    driver = Driver(Fault("Produce", delay_ms=250))
    producing = driver.start(produce(b"x"))
    log = driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    driver.clock.advance(249)
    assert (producing.done, log.end_offset) == (False, 0)
    driver.clock.advance(1)
    assert (producing.done, log.end_offset) == (True, 1)


def hits(seed: int) -> list[int]:
    driver = Driver(Fault("Produce", error_code=19, probability=0.5), seed=seed)
    answers = [driver.ask(produce(b"x"), ProduceResponse) for _ in range(64)]
    return [answer.topics[0].partitions[0].error_code for answer in answers]


def test_the_same_seed_hits_the_same_calls() -> None:
    assert hits(1) == hits(1) != hits(2)
    assert 16 < hits(1).count(19) < 48


def test_a_refused_fetch_names_every_partition() -> None:
    driver = Driver(Fault("Fetch", error_code=6))
    answer = driver.ask(fetch(wait_ms=1000), FetchResponse)
    assert [p.error_code for topic in answer.topics for p in topic.partitions] == [6]


def test_a_refused_heartbeat_says_so() -> None:
    driver = Driver(Fault("Heartbeat", error_code=16))
    assert driver.ask(HeartbeatRequest("g", 1, "m"), HeartbeatResponse).error_code == 16


def test_a_refused_transaction_is_still_open() -> None:
    driver = Driver(Fault("EndTxn", error_code=51, count=1))
    given = driver.ask(InitProducerIdRequest("tx", 1000), InitProducerIdResponse)
    owner = (given.producer_id, given.producer_epoch)
    add = AddPartitionsToTxnRequest("tx", *owner, (TopicPartitions(TOPIC, (0,)),))
    driver.ask(add, AddPartitionsToTxnResponse)
    end = EndTxnRequest("tx", *owner, committed=True)
    assert [driver.ask(end, EndTxnResponse).error_code for _ in range(2)] == [51, 0]


def test_a_fault_of_another_api_is_not_ours() -> None:
    driver = Driver(Fault("Fetch", error_code=42))
    assert driver.ask(MetadataRequest(()), MetadataResponse).topics == ()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        struct.pack(">hhih", 999, 0, 1, -1),
        struct.pack(">hhih", 0, 99, 1, -1),
        struct.pack(">hhih", 3, 1, 1, -1) + b"\x7f\xff\xff\xff",
        struct.pack(">hhih", 3, 1, 1, 200),
        struct.pack(">hhih", 3, 12, 1, -1) + b"\xff\xff\xff\xff\xff\xff",
    ],
)
def test_garbage_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        Driver().broker.handle(frame, Caller())
