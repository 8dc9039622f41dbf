"""What tests of any Kafka broker need: topics with names nobody else uses."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from batuta.streams.broker.messages_records import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from batuta.streams.broker.raw_client import RawClient, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TopicFactory"]

_numbers = itertools.count()


class _CreateTopicsResponse(Protocol):
    topic_errors: Sequence[tuple[object, int]]


class TopicFactory:
    """Creates topics on one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @staticmethod
    def unique(name: str) -> str:
        """A name that no other test uses, for topics, groups and transactional ids alike."""
        return f"{name}-{os.getpid()}-{next(_numbers)}"

    async def create(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> str:
        """Create one topic under a unique name.

        Args:
            name: what the unique name starts with.
            partitions: how many.
            configs: settings of the topic.

        Returns:
            The unique name.
        """
        unique = self.unique(name)
        await self.create_exactly(unique, partitions, configs)
        return unique

    async def create_exactly(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        """Create one topic under this very name, and wait until it can be used.

        Raises:
            KafkaError: the broker refuses.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            topic = NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))
            response = await admin.create_topics([topic])
        finally:
            await admin.close()
        for answer in cast("_CreateTopicsResponse", response).topic_errors:
            if answer[1]:
                raise for_code(answer[1])(name)
        await eventually(lambda: self._is_led(name, partitions))

    async def _is_led(self, name: str, partitions: int) -> bool:
        """Whether every partition can be read: Apache Kafka takes a moment after creation."""
        asked = tuple(ListOffsetsPartition(number, -1, -1) for number in range(partitions))
        request = ListOffsetsRequest(topics=(ListOffsetsTopic(name, asked),))
        answer = await RawClient(self.bootstrap).ask(request, ListOffsetsResponse, 4)
        return not any(found.error_code for found in answer.topics[0].partitions)
