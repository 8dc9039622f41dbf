"""The topics: their partitions, their ids, their configuration."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batuta.streams.broker.codes import Code
from batuta.streams.broker.log import PartitionLog
from batuta.streams.broker.topic_configs import TOPIC_CONFIGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Topic", "Topics", "name_is_legal"]

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def name_is_legal(name: str) -> bool:
    """Whether Kafka accepts this as the name of a topic."""
    return _LEGAL_NAME.fullmatch(name) is not None and name not in {".", ".."}


@dataclass(slots=True)
class Topic:
    """One topic."""

    name: str
    topic_id: bytes
    configs: dict[str, str]
    partitions: list[PartitionLog] = field(default_factory=list[PartitionLog])

    def config(self, name: str) -> str:
        """The value of a setting: the topic's own, else the default."""
        return self.configs.get(name, TOPIC_CONFIGS[name].default)

    @property
    def max_message_bytes(self) -> int:
        """The largest batch that may be appended."""
        return int(self.config("max.message.bytes"))

    def grow(self, partition_count: int) -> None:
        """Add partitions, up to a count."""
        while len(self.partitions) < partition_count:
            self.partitions.append(PartitionLog())


class Topics:
    """All topics of the broker, by name and by id."""

    def __init__(self) -> None:
        self._by_name: dict[str, Topic] = {}
        self._by_id: dict[bytes, Topic] = {}

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Topic | None:
        """The topic of that name."""
        return self._by_name.get(name)

    def get_by_id(self, topic_id: bytes) -> Topic | None:
        """The topic of that id."""
        return self._by_id.get(topic_id)

    def partition(self, name: str, partition: int) -> PartitionLog | None:
        """One partition, if it exists."""
        topic = self._by_name.get(name)
        if topic is None or not 0 <= partition < len(topic.partitions):
            return None
        return topic.partitions[partition]

    def check(self, name: str) -> Code:
        """Whether a topic of that name could be created."""
        if not name_is_legal(name):
            return Code.INVALID_TOPIC
        return Code.TOPIC_ALREADY_EXISTS if name in self._by_name else Code.NONE

    def create(self, name: str, partition_count: int, configs: Mapping[str, str]) -> Topic:
        """Create a topic whose name has been checked."""
        topic = Topic(name, uuid.uuid4().bytes, dict(configs))
        topic.grow(partition_count)
        self._by_name[name] = self._by_id[topic.topic_id] = topic
        return topic

    def delete(self, topic: Topic) -> None:
        """Remove a topic and wake its readers."""
        del self._by_name[topic.name], self._by_id[topic.topic_id]
        for partition in topic.partitions:
            partition.close()
