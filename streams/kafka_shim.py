"""The private attributes of aiokafka that batuta touches, in one guarded place.

aiokafka is pinned exactly because of this module; `tests/unit/streams/test_kafka_shim.py` names
each attribute, so that an upgrade which moves one fails there and not in production. Why each is
needed is measured in `docs/decisions/0002-aiokafka-private-attributes.md`.
"""

from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer import sender
from aiokafka.protocol.group import HeartbeatRequest

__all__ = ["abandon", "heartbeat_error_code", "hurry_consumer", "hurry_transactions"]

_TRANSACTION_BACKOFF_S: Final = 0.002


def hurry_transactions() -> None:
    """Wait 2 ms, not 20, while the markers of the last transaction are still being written."""
    assert isinstance(sender.BACKOFF_OVERRIDE, float), "aiokafka moved BACKOFF_OVERRIDE"
    sender.BACKOFF_OVERRIDE = _TRANSACTION_BACKOFF_S


def hurry_consumer(consumer: AIOKafkaConsumer) -> None:
    """Let a partition with undrained records delay its neighbours' fetches no longer."""
    fetcher = consumer._fetcher  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert hasattr(fetcher, "_prefetch_backoff"), "aiokafka moved _prefetch_backoff"
    setattr(fetcher, "_prefetch_backoff", 0)  # noqa: B010  a private name, said as such


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer's connections without flushing what it still holds.

    Its own `stop()` waits for every batch to be delivered, for ever where none can be.
    """
    routine = producer._sender.sender_task  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    producer._closed = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if routine is not None and not routine.done():
        routine.cancel()
    await producer.client.close()


async def heartbeat_error_code(consumer: AIOKafkaConsumer) -> int:
    """Return the broker's answer to a heartbeat with this member's own generation.

    aiokafka's own heartbeat also counts "rebalance in progress" as alive, which is too late to
    learn that a lane may have another owner.

    Raises:
        aiokafka.errors.KafkaError: no coordinator answered.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert isinstance(coordinator, GroupCoordinator), "a consumer without a group has no lanes"
    request = HeartbeatRequest(coordinator.group_id, coordinator.generation, coordinator.member_id)
    response = await coordinator._send_req(request)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return int(response.error_code)
