"""Names each private attribute of aiokafka that we touch: one that moves fails here."""

from __future__ import annotations

import asyncio
import gc
import inspect
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.group import HeartbeatRequest

from batuta.streams.lanes import kafka_fetches, kafka_shim

if TYPE_CHECKING:
    from types import ModuleType

    from batuta.streams.lanes.log import Row


def test_the_version_the_attributes_were_read_in() -> None:
    assert version("aiokafka") == "0.14.0"
    assert version("faust-streaming") == "0.15.3"


def test_the_pause_between_transactions_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", 0.02)
    kafka_shim.hurry_transactions()
    assert sender.BACKOFF_OVERRIDE == 0.002
    assert "return BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler)


async def test_a_failed_batch_is_told_to_its_sender_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MessageBatch, "failure", MessageBatch.failure)
    kafka_shim.hear_failed_batches()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    batch = MessageBatch(TopicPartition("t", 0), None, 10, 0)
    sent = asyncio.shield(batch.future)
    batch.failure(ValueError("fenced"))
    with pytest.raises(ValueError, match="fenced"):
        await sent
    del batch, sent
    gc.collect()
    assert complaints == []


async def test_rows_are_appended_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_522_577_863.052)
    headers = (("ce_id", b"1"), ("content-type", b"application/json"))
    rows: list[Row] = [(b"k", b"value" * 20, headers), (None, b"", ()), (b"k", None, ())] * 9
    whole, built = BatchBuilder(1 << 20, 0), BatchBuilder(1 << 20, 0)
    for key, value, pairs in rows:
        built.append(timestamp=1_522_577_863_052, key=key, value=value, headers=list(pairs))
    assert kafka_shim.append_rows(whole, rows) is None
    assert whole.record_count() == 27
    assert await _bytes_of(whole) == await _bytes_of(built)


async def _bytes_of(batch: BatchBuilder) -> bytes:
    return bytes(MessageBatch(TopicPartition("t", 0), batch, 10, 0).get_data_buffer())


def test_the_first_row_without_room_comes_back_and_the_batch_is_closed() -> None:
    rows: list[Row] = [(b"k", b"x" * 100, ()), (b"l", b"y" * 100, ()), (b"m", b"z", ())]
    batch, coming = BatchBuilder(200, 0), iter(rows)
    assert kafka_shim.append_rows(batch, coming) == rows[1]
    assert (batch.record_count(), batch.closed()) == (1, True)
    assert list(coming) == rows[2:]
    whatever_its_size = BatchBuilder(200, 0)
    assert kafka_shim.append_rows(whatever_its_size, [(b"k", b"x" * 500, ())]) is None
    assert kafka_shim.append_rows(whatever_its_size, rows) == rows[0]


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (AIOKafkaConsumer, "self._client"),
        (AIOKafkaConsumer, "self._coordinator"),
        (AIOKafkaConsumer, "self._fetcher"),
        (AIOKafkaProducer, "self._closed"),
        (AIOKafkaProducer, "self._sender"),
        (AIOKafkaProducer, "self.client"),
        (BatchBuilder, "self._builder"),
        (BatchBuilder, "self._relative_offset"),
        (Fetcher, "self._fetch_task"),
        (Fetcher, "self._prefetch_backoff"),
        (Fetcher, "self._records"),
        (FetchResult, "self._assignment"),
        (FetchResult, "self._partition_records"),
        (FetchResult, "self._topic_partition"),
        (GroupCoordinator, "self._coordination_task"),
        (GroupCoordinator, "self.generation"),
        (GroupCoordinator, "self.group_id"),
        (GroupCoordinator, "self.member_id"),
        (MessageBatch, "self._drain_waiter"),
        (PartitionRecords, "self._aborted_producers"),
        (PartitionRecords, "self._isolation_level"),
        (PartitionRecords, "self._records"),
        (PartitionRecords, "self._records_iterator"),
        (Sender, "self._txn_manager"),
        (TransactionManager, "self._transaction_waiter"),
    ],
)
def test_an_attribute_we_touch_is_where_it_was(owner: type, attribute: str) -> None:
    assert f"{attribute} = " in inspect.getsource(owner.__init__)


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (AIOKafkaClient, "close", ["self"]),
        (GroupCoordinator, "_send_req", ["self", "request"]),
        (FetchResult, "getall", ["self", "max_records"]),
        (FetchResult, "_update_position", ["self"]),
        (FetchResult, "check_assignment", ["self", "tp"]),
        (PartitionRecords, "_consume_aborted_up_to", ["self", "batch_offset"]),
        (PartitionRecords, "_contains_abort_marker", ["self", "next_batch"]),
        (GroupCoordinator, "check_errors", ["self"]),
        (MessageBatch, "failure", ["self", "exception"]),
        (HeartbeatRequest, "__init__", ["self", "group", "generation_id", "member_id"]),
        (TransactionManager, "wait_for_transaction_end", ["self"]),
    ],
)
def test_a_method_we_call_takes_what_it_took(
    owner: type, method: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_the_fetchers_task_is_its_error_future() -> None:
    assert "return self._fetch_task" in inspect.getsource(Fetcher.error_future.fget or Fetcher)


def test_the_fetcher_makes_of_each_answer_what_is_replaced() -> None:
    made = inspect.getsource(Fetcher._proc_fetch_request)  # pyright: ignore[reportPrivateUsage]
    assert "self._records[tp] = FetchResult(" in made
    assert "type(res_or_error) is FetchResult" in inspect.getsource(Fetcher.fetched_records)


@pytest.mark.parametrize(
    ("half", "known"),
    [
        (
            kafka_shim,
            {
                "_builder", "_client", "_closed", "_coordinator", "_drain_waiter", "_fetcher",
                "_prefetch_backoff", "_records", "_relative_offset", "_send_req", "_sender",
                "_txn_manager",
            },
        ),
        (
            kafka_fetches,
            {
                "_aborted_producers", "_consume_aborted_up_to", "_contains_abort_marker",
                "_isolation_level", "_partition_records", "_records", "_records_iterator",
                "_topic_partition", "_update_position",
            },
        ),
    ],
)  # fmt: skip
def test_the_shim_touches_nothing_that_is_not_named_here(half: ModuleType, known: set[str]) -> None:
    lines = inspect.getsource(half).splitlines()
    touched = {word for line in lines for word in _private_words(line.split("#")[0])}
    assert touched - OURS == known


#: What a `Drain` calls its own.
OURS = {
    "_advance", "_batch", "_behind", "_committed_only", "_consume_aborted", "_fetched",
    "_is_abort", "_is_passed_over", "_some", "_tp",
}  # fmt: skip


def _private_words(line: str) -> set[str]:
    """Words after a dot, or quoted, that begin with one underscore."""
    found: set[str] = set()
    for mark in ('."', ".", '"'):
        for piece in line.split(mark)[1:]:
            word = "".join(c if c.isalnum() or c == "_" else " " for c in piece).split(" ")[0]
            if word.startswith("_") and not word.startswith("__"):
                found.add(word)
    return found
