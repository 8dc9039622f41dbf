"""How large a batch a topic takes, for those who tell people why one was refused."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from batuta.streams.settings import Settings, client_options

__all__ = ["LIMITS", "batch_bytes_max"]

#: A batch is larger than neither of them.
LIMITS: Final = ("max.message.bytes", "segment.bytes")


class _Described(Protocol):
    """The broker's answer, of any version: per topic an error code, and name and value of each."""

    resources: Sequence[
        tuple[int, str | None, int, str, Sequence[tuple[str, str | None, *tuple[object, ...]]]]
    ]


async def batch_bytes_max(settings: Settings, topic: str) -> int | None:
    """Return how large a batch a topic takes.

    Returns:
        None where we may not know.

    Raises:
        aiokafka.errors.KafkaError: the broker is out of reach.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(LIMITS, ""))
    try:
        await admin.start()
        answers = await admin.describe_configs([asked])
    finally:
        await admin.close()
    limits = chain.from_iterable(_limits(cast("_Described", one)) for one in answers)
    return min(limits, default=None)


def _limits(answer: _Described) -> Iterator[int]:
    for _, _, _, _, entries in answer.resources:
        for name, value, *_ in entries:
            if name in LIMITS and value is not None:
                yield int(value)
