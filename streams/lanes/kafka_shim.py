"""The private attributes of aiokafka that batuta touches, in one guarded place.

aiokafka is pinned exactly because of this module; `tests/unit/streams/test_kafka_shim.py` names
each attribute, so that an upgrade which moves one fails there and not in production. Why each is
needed is measured in `docs/decisions/0002-aiokafka-private-attributes.md`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatRequest, HeartbeatResponse_v1
from aiokafka.protocol.types import Int32, Schema, String

from batuta.streams.lanes.kafka_fetches import Fetches, drain_at_once
from batuta.streams.lanes.log import Row
from batuta.streams.unwaited import look_at

__all__ = [
    "Place",
    "abandon_consumer",
    "abandon_producer",
    "append_rows",
    "hear_failed_batches",
    "heartbeat_error_code",
    "hurry_consumer",
    "hurry_transactions",
    "keep_place",
    "raise_consumer_error",
]

_TRANSACTION_BACKOFF_S: Final = 0.002
_FENCED_INSTANCE_ID: Final = 82
_FAIL: Final = MessageBatch.failure


def hurry_transactions() -> None:
    """Wait 2 ms, not 20, while the markers of the last transaction are still being written."""
    assert isinstance(sender.BACKOFF_OVERRIDE, float), "aiokafka moved BACKOFF_OVERRIDE"
    sender.BACKOFF_OVERRIDE = _TRANSACTION_BACKOFF_S


def hear_failed_batches() -> None:
    """Let no failed batch be reported as a failure that nobody looked at.

    aiokafka tells it twice: to who sent the batch, and to who waits for its place, who is seldom
    there. So a fenced worker would say a traceback for each of its batches as it ends.
    """
    if MessageBatch.failure is not _fail_heard:
        MessageBatch.failure = _fail_heard


def _fail_heard(self: MessageBatch, exception: Exception) -> None:
    _FAIL(self, exception)
    look_at(self._drain_waiter)  # pyright: ignore[reportPrivateUsage]


def append_rows(batch: BatchBuilder, rows: Iterable[Row]) -> Row | None:
    """Append rows until the batch is full; return the first that found no room.

    Past the batch's own method for one row, which cost as much again as what it calls. All rows
    carry the time of this call.
    """
    assert hasattr(batch, "_relative_offset"), "aiokafka moved _relative_offset"
    append = batch._builder.append  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    now_ms, offset = int(time.time() * 1000), batch.record_count()
    left: Row | None = None
    for row in rows:
        key, value, headers = row
        if append(offset, now_ms, key, value, list(headers)) is None:
            batch.close()
            left = row
            break
        offset += 1
    batch._relative_offset = offset  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return left


def hurry_consumer(consumer: AIOKafkaConsumer) -> None:
    """Make a consumer's records ours, and let no partition wait for another's reader.

    A quarter of a lane's time went into `ConsumerRecord`s, which are read once and thrown away. A
    partition with undrained records delays its neighbours' fetches no longer.
    """
    drain_at_once()
    fetcher = _fetcher(consumer)
    assert isinstance(fetcher._records, OrderedDict), "aiokafka moved _records"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert hasattr(fetcher, "_prefetch_backoff"), "aiokafka moved _prefetch_backoff"
    # What was fetched so far was not read, so it is fetched again.
    setattr(fetcher, "_records", Fetches())  # noqa: B010  a private name, said as such
    setattr(fetcher, "_prefetch_backoff", 0)  # noqa: B010


def raise_consumer_error(consumer: AIOKafkaConsumer) -> None:
    """Raise what stopped one of the consumer's own tasks, or what they want somebody to know.

    aiokafka tells only those who poll, and waits for ever until somebody has; of a fetch task that
    died it tells nobody. A consumer without partitions is never polled.

    Raises:
        aiokafka.errors.KafkaError: the consumer needs to be replaced.
    """
    _coordinator(consumer).check_errors()
    fetching: asyncio.Task[None] = _fetcher(consumer).error_future
    if fetching.done() and not fetching.cancelled():
        fetching.result()


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Close a producer without flushing what it still holds, and leave no task behind.

    Its own `stop()` waits for every batch to be delivered, for ever where none can be.
    """
    own = producer._sender  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    producer._closed = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    await _cancel_tasks_of(own)
    manager = own._txn_manager  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    ended = None if manager is None else manager.wait_for_transaction_end()
    if ended is not None and ended.done() and not ended.cancelled():
        ended.exception()  # else the loop reports it as never looked at
    await producer.client.close()


async def abandon_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer whose own `stop()` did not come back; the group notices by its silence."""
    coordinator = consumer._coordinator  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    fetcher = consumer._fetcher  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for part in (coordinator, fetcher):
        if part is not None:  # it was started
            await _cancel_tasks_of(part)
    await consumer._client.close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def heartbeat_error_code(consumer: AIOKafkaConsumer) -> int:
    """Return the broker's answer to a heartbeat with this member's own generation.

    aiokafka's own heartbeat also counts "rebalance in progress" as alive, which is too late to
    learn that a lane may have another owner.

    Raises:
        aiokafka.errors.KafkaError: no coordinator answered.
    """
    coordinator = _coordinator(consumer)
    request = HeartbeatRequest(coordinator.group_id, coordinator.generation, coordinator.member_id)
    response = await coordinator._send_req(request)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return int(response.error_code)


class _HeartbeatStruct(RequestStruct):
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v1  # what version 3 is answered with looks the same
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


@dataclass(frozen=True)
class _StaticHeartbeat(Request[_HeartbeatStruct]):
    """A heartbeat that says who we mean to be: version 3 of the request; aiokafka speaks 1."""

    API_KEY = 12
    group: str
    generation: int
    member_id: str
    instance_id: str

    def build(self, request_struct_class: type[_HeartbeatStruct]) -> _HeartbeatStruct:
        return request_struct_class(self.group, self.generation, self.member_id, self.instance_id)


@dataclass
class Place:
    """A static member's place in its group.

    Attributes:
        taken: whether another member has it now, under the same instance id.
    """

    taken: bool = False


def keep_place(consumer: AIOKafkaConsumer, instance_id: str) -> Place:
    """Let a static member say its instance id with each heartbeat, and notice who takes its place.

    Without the id a broker only says that it does not know the member. aiokafka would join again
    under the id and take the place back, and two workers of one id would do so for ever.
    """
    place, coordinator = Place(), _coordinator(consumer)
    send = coordinator._send_req  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def send_as_instance(request: object) -> object:
        # Who has no member id, or gave it up to join anew, is told of its own former self.
        named = bool(member_id := coordinator.member_id)
        if isinstance(request, HeartbeatRequest):
            group, generation = coordinator.group_id, coordinator.generation
            request = _StaticHeartbeat(group, generation, member_id, instance_id)
        response: object = await send(request)
        if named and getattr(response, "error_code", None) == _FENCED_INSTANCE_ID:
            place.taken = True
        return response

    setattr(coordinator, "_send_req", send_as_instance)  # noqa: B010  a private name, said as such
    return place


def _coordinator(consumer: AIOKafkaConsumer) -> GroupCoordinator:
    coordinator = consumer._coordinator  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert isinstance(coordinator, GroupCoordinator), "a consumer without a group has no lanes"
    return coordinator


def _fetcher(consumer: AIOKafkaConsumer) -> Fetcher:
    fetcher = consumer._fetcher  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert isinstance(fetcher, Fetcher), "the consumer was not started"
    return fetcher


async def _cancel_tasks_of(owner: object) -> None:
    """Cancel every task that runs a method of `owner`; aiokafka keeps no list of them."""
    tasks = [task for task in asyncio.all_tasks() if _owner_of(task) is owner]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _owner_of(task: "asyncio.Task[object]") -> object:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return None if frame is None else frame.f_locals.get("self")
