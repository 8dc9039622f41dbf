"""The private attributes of aiokafka that batuta touches, in one guarded place.

aiokafka is pinned exactly because of this module; `tests/unit/streams/test_kafka_shim.py` names
each attribute, so that an upgrade which moves one fails there and not in production. Why each is
needed is measured in `docs/decisions/0002-aiokafka-private-attributes.md`.
"""

from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.producer import sender
from aiokafka.protocol.group import HeartbeatRequest

__all__ = ["heartbeat_error_code", "hurry_consumer", "hurry_transactions"]

_TRANSACTION_BACKOFF_S: Final = 0.002


def hurry_transactions() -> None:
    """Wait 2 ms, not 20, while the markers of the last transaction are still being written."""
    assert isinstance(sender.BACKOFF_OVERRIDE, float), "aiokafka moved BACKOFF_OVERRIDE"
    sender.BACKOFF_OVERRIDE = _TRANSACTION_BACKOFF_S


def hurry_consumer(consumer: AIOKafkaConsumer) -> None:
    """Let a partition with undrained records delay its neighbours' fetches no longer."""
    fetcher = consumer._fetcher  # noqa: SLF001
    assert hasattr(fetcher, "_prefetch_backoff"), "aiokafka moved _prefetch_backoff"
    fetcher._prefetch_backoff = 0  # noqa: SLF001


async def heartbeat_error_code(consumer: AIOKafkaConsumer) -> int:
    """Return the broker's answer to a heartbeat with this member's own generation.

    aiokafka's own heartbeat also counts "rebalance in progress" as alive, which is too late to
    learn that a lane may have another owner.

    Raises:
        aiokafka.errors.KafkaError: no coordinator answered.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    request = HeartbeatRequest(
        coordinator.group_id, coordinator.generation, coordinator.member_id
    )
    response = await coordinator._send_req(request)  # noqa: SLF001
    return int(response.error_code)
