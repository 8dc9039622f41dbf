"""Names each private attribute of aiokafka that we touch: one that moves fails here."""

from __future__ import annotations

import asyncio
import gc
import inspect
from importlib.metadata import version

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.group import HeartbeatRequest

from batuta.streams.lanes import kafka_shim


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


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (AIOKafkaConsumer, "self._client"),
        (AIOKafkaConsumer, "self._coordinator"),
        (AIOKafkaConsumer, "self._fetcher"),
        (AIOKafkaProducer, "self._closed"),
        (AIOKafkaProducer, "self._sender"),
        (AIOKafkaProducer, "self.client"),
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
        "_client", "_closed", "_consumer_record", "_coordinator", "_drain_waiter", "_fetcher",
        "_partition_records", "_prefetch_backoff", "_records", "_send_req", "_sender",
        "_txn_manager",
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
