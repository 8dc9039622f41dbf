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

from batuta.streams.lanes import kafka_shim

if TYPE_CHECKING:
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
        (FetchResult, "self._partition_records"),
        (GroupCoordinator, "self._coordination_task"),
        (GroupCoordinator, "self.generation"),
        (GroupCoordinator, "self.group_id"),
        (GroupCoordinator, "self.member_id"),
        (MessageBatch, "self._drain_waiter"),
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
        (PartitionRecords, "_consumer_record", ["self", "tp", "record"]),
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


def test_the_shim_touches_nothing_that_is_not_named_here() -> None:
    known = {
        "_builder", "_client", "_closed", "_consumer_record", "_coordinator", "_drain_waiter",
        "_fetcher", "_partition_records", "_prefetch_backoff", "_records", "_relative_offset",
        "_send_req", "_sender", "_txn_manager",
    }  # fmt: skip
    lines = inspect.getsource(kafka_shim).splitlines()
    touched = {word for line in lines for word in _private_words(line.split("#")[0])}
    assert touched == known | {"_make"}, "`_make` is our own"


def _private_words(line: str) -> set[str]:
    """Words after a dot, or quoted, that begin with one underscore."""
    found: set[str] = set()
    for mark in ('."', ".", '"'):
        for piece in line.split(mark)[1:]:
            word = "".join(c if c.isalnum() or c == "_" else " " for c in piece).split(" ")[0]
            if word.startswith("_") and not word.startswith("__"):
                found.add(word)
    return found
