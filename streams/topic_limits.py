"""How large a batch a topic takes, for those who tell people why one was refused."""

from collections.abc import Sequence
from typing import Final, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from batuta.streams.settings import Settings, client_options

__all__ = ["LIMIT", "batch_bytes_max"]

LIMIT: Final = "max.message.bytes"


class _Described(Protocol):
    """The broker's answer, of any version: per topic an error code, and name and value of each."""

    resources: Sequence[
        tuple[int, str | None, int, str, Sequence[tuple[str, str | None, *tuple[object, ...]]]]
    ]


async def batch_bytes_max(settings: Settings, topic: str) -> int | None:
    """Return a topic's `max.message.bytes`.

    Returns:
        None where the broker does not tell: it is out of reach, or we may not ask.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, {LIMIT: ""})
    try:
        await admin.start()
        answers = await admin.describe_configs([asked])
    except KafkaError:
        return None
    finally:
        await admin.close()
    return next((_limit(cast("_Described", answer)) for answer in answers), None)


def _limit(answer: _Described) -> int | None:
    for _, _, _, _, entries in answer.resources:
        for name, value, *_ in entries:
            if name == LIMIT and value is not None:
                return int(value)
    return None
