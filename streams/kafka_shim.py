"""The private attributes of aiokafka that batuta touches, in one guarded place.

aiokafka is pinned exactly because of this module; `tests/unit/streams/test_kafka_shim.py` names
each attribute, so that an upgrade which moves one fails there and not in production. Why each is
needed is measured in `docs/decisions/0002-aiokafka-private-attributes.md`.
"""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.protocol.group import HeartbeatRequest

__all__ = [
    "abandon_consumer",
    "abandon_producer",
    "heartbeat_error_code",
    "hurry_consumer",
    "hurry_transactions",
    "raise_consumer_error",
]

_TRANSACTION_BACKOFF_S: Final = 0.002


def hurry_transactions() -> None:
    """Wait 2 ms, not 20, while the markers of the last transaction are still being written."""
    assert isinstance(sender.BACKOFF_OVERRIDE, float), "aiokafka moved BACKOFF_OVERRIDE"
    sender.BACKOFF_OVERRIDE = _TRANSACTION_BACKOFF_S


def hurry_consumer(consumer: AIOKafkaConsumer) -> None:
    """Let a partition with undrained records delay its neighbours' fetches no longer."""
    fetcher = _fetcher(consumer)
    assert hasattr(fetcher, "_prefetch_backoff"), "aiokafka moved _prefetch_backoff"
    setattr(fetcher, "_prefetch_backoff", 0)  # noqa: B010  a private name, said as such


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
    for part in (_coordinator(consumer), _fetcher(consumer)):
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
