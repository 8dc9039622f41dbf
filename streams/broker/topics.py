"""The topics: their partitions, their ids, their configuration."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.journal_entries import TopicKept, TopicRemoved
from batuta.streams.broker.log import PartitionLog
from batuta.streams.broker.storage import SegmentLimits
from batuta.streams.broker.topic_configs import TOPIC_CONFIGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from batuta.streams.broker.clock import Clock
    from batuta.streams.broker.disk import Disk
    from batuta.streams.broker.journal import Journal

__all__ = ["LOGS", "Topic", "Topics", "entry_of", "name_is_legal"]

#: The folder of all partitions: in it one for each topic id, in that one for each number.
LOGS = "logs"

_log = structlog.get_logger(__name__)

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def name_is_legal(name: str) -> bool:
    """Whether Kafka accepts this as the name of a topic."""
    return _LEGAL_NAME.fullmatch(name) is not None and name not in {".", ".."}


@dataclass(slots=True)
class Topic:
    """One topic.

    Attributes:
        configs: its own settings; the defaults stand for the others.
        limits: those of its partitions' segments.
        max_message_bytes: the largest batch that may be appended.
        timestamp_after_max_ms: how far ahead of our clock its records may be.
    """

    name: str
    topic_id: bytes
    configs: dict[str, str]
    limits: SegmentLimits
    max_message_bytes: int = 0
    timestamp_after_max_ms: int = 0
    partitions: list[PartitionLog] = field(default_factory=list[PartitionLog])

    def config(self, name: str) -> str:
        """The value of a setting: the topic's own, else the default."""
        return self.configs.get(name, TOPIC_CONFIGS[name].default)

    @property
    def folder(self) -> str:
        """Where its partitions lie."""
        return f"{LOGS}/{self.topic_id.hex()}"

    @property
    def is_compacted(self) -> bool:
        """Whether only the last record of each key is kept."""
        return "compact" in self.config("cleanup.policy")

    @property
    def is_deleted(self) -> bool:
        """Whether old records are removed."""
        return "delete" in self.config("cleanup.policy")


class Topics:
    """All topics of the broker, by name and by id."""

    def __init__(
        self,
        clock: Clock,
        disk: Disk,
        journal: Journal,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self._clock, self._disk, self._journal = clock, disk, journal
        self._new_id = new_id
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
        """Create a topic whose name has been checked.

        Raises:
            DiskError: it could not be noted, and is not there.
        """
        kept = TopicKept(name, self._new_id().hex, partition_count, dict(configs))
        self._journal.append(kept, is_final=True)
        return self.keep(kept)

    def grow(self, topic: Topic, partition_count: int) -> None:
        """Add partitions, up to a count.

        Raises:
            DiskError: it could not be noted, and nothing was added.
        """
        kept = replace(entry_of(topic), partition_count=partition_count)
        self._journal.append(kept, is_final=True)
        self.keep(kept)

    def configure(self, topic: Topic, configs: Mapping[str, str]) -> None:
        """Replace a topic's settings, which have been checked.

        Raises:
            DiskError: it could not be noted, and nothing was changed.
        """
        kept = replace(entry_of(topic), configs=dict(configs))
        self._journal.append(kept, is_final=True)
        self.keep(kept)

    def keep(self, kept: TopicKept) -> Topic:
        """Let a topic be as it was noted."""
        topic_id = bytes.fromhex(kept.topic_id)
        topic = self._by_id.get(topic_id)
        if topic is None:
            topic = Topic(kept.name, topic_id, kept.configs, SegmentLimits(0, 0, 0))
            self._by_name[topic.name] = self._by_id[topic_id] = topic
        topic.configs = kept.configs
        topic.max_message_bytes = int(topic.config("max.message.bytes"))
        topic.timestamp_after_max_ms = int(topic.config("message.timestamp.after.max.ms"))
        topic.limits.size_bytes = int(topic.config("segment.bytes"))
        topic.limits.age_ms = int(topic.config("segment.ms"))
        topic.limits.flush_batches = int(topic.config("flush.messages"))
        for number in range(len(topic.partitions), kept.partition_count):
            folder = f"{topic.folder}/{number}"
            topic.partitions.append(PartitionLog(self._disk, folder, topic.limits, self._clock))
        return topic

    def delete(self, topic: Topic) -> None:
        """Remove a topic and wake its readers.

        Raises:
            DiskError: it could not be noted, and the topic is still there.
        """
        removed = TopicRemoved(topic.topic_id.hex())
        self._journal.append(removed, is_final=True)
        self.forget(removed)
        for partition in topic.partitions:
            partition.close()

    def forget(self, removed: TopicRemoved) -> Topic | None:
        """Let a topic be gone, with its files; those that resist go at the next start."""
        topic = self._by_id.pop(bytes.fromhex(removed.topic_id), None)
        if topic is not None:
            del self._by_name[topic.name]
        try:
            self._disk.remove(f"{LOGS}/{removed.topic_id}")
        except DiskError as error:
            _log.warning("deleted_topic_left", topic_id=removed.topic_id, reason=str(error))
        return topic


def entry_of(topic: Topic) -> TopicKept:
    """A topic as it is noted."""
    return TopicKept(topic.name, topic.topic_id.hex(), len(topic.partitions), topic.configs)
