"""The settings of a topic, with the defaults and types of Apache Kafka 4.1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["TOPIC_CONFIGS", "ConfigType", "TopicConfig", "value_is_legal"]

_BIGGEST_LONG = "9223372036854775807"
_BIGGEST_INT = "2147483647"


class ConfigType(IntEnum):
    """The type of a setting, as DescribeConfigs answers it."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """One setting; where `choices` is given, nothing else is accepted."""

    default: str
    type: ConfigType
    choices: tuple[str, ...] = ()
    minimum: float = float("-inf")


_BOOLEAN = ("true", "false")

TOPIC_CONFIGS: dict[str, TopicConfig] = {
    "cleanup.policy": TopicConfig("delete", ConfigType.LIST, ("compact", "delete")),
    "compression.gzip.level": TopicConfig("-1", ConfigType.INT),
    "compression.lz4.level": TopicConfig("9", ConfigType.INT),
    "compression.type": TopicConfig(
        "producer",
        ConfigType.STRING,
        ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    ),
    "compression.zstd.level": TopicConfig("3", ConfigType.INT),
    "delete.retention.ms": TopicConfig("86400000", ConfigType.LONG, minimum=0),
    "file.delete.delay.ms": TopicConfig("60000", ConfigType.LONG, minimum=0),
    "flush.messages": TopicConfig(_BIGGEST_LONG, ConfigType.LONG, minimum=1),
    "flush.ms": TopicConfig(_BIGGEST_LONG, ConfigType.LONG, minimum=0),
    "follower.replication.throttled.replicas": TopicConfig("", ConfigType.LIST),
    "index.interval.bytes": TopicConfig("4096", ConfigType.INT, minimum=0),
    "leader.replication.throttled.replicas": TopicConfig("", ConfigType.LIST),
    "local.retention.bytes": TopicConfig("-2", ConfigType.LONG, minimum=-2),
    "local.retention.ms": TopicConfig("-2", ConfigType.LONG, minimum=-2),
    "max.compaction.lag.ms": TopicConfig(_BIGGEST_LONG, ConfigType.LONG, minimum=1),
    "max.message.bytes": TopicConfig("1048588", ConfigType.INT, minimum=0),
    "message.timestamp.after.max.ms": TopicConfig("3600000", ConfigType.LONG, minimum=0),
    "message.timestamp.before.max.ms": TopicConfig(_BIGGEST_LONG, ConfigType.LONG, minimum=0),
    "message.timestamp.type": TopicConfig(
        "CreateTime", ConfigType.STRING, ("CreateTime", "LogAppendTime")
    ),
    "min.cleanable.dirty.ratio": TopicConfig("0.5", ConfigType.DOUBLE, minimum=0),
    "min.compaction.lag.ms": TopicConfig("0", ConfigType.LONG, minimum=0),
    "min.insync.replicas": TopicConfig("1", ConfigType.INT, minimum=1),
    "preallocate": TopicConfig("false", ConfigType.BOOLEAN, _BOOLEAN),
    "remote.log.copy.disable": TopicConfig("false", ConfigType.BOOLEAN, _BOOLEAN),
    "remote.log.delete.on.disable": TopicConfig("false", ConfigType.BOOLEAN, _BOOLEAN),
    "remote.storage.enable": TopicConfig("false", ConfigType.BOOLEAN, _BOOLEAN),
    "retention.bytes": TopicConfig("-1", ConfigType.LONG),
    "retention.ms": TopicConfig("604800000", ConfigType.LONG, minimum=-1),
    "segment.bytes": TopicConfig("1073741824", ConfigType.INT, minimum=1048576),
    "segment.index.bytes": TopicConfig("10485760", ConfigType.INT, minimum=4),
    "segment.jitter.ms": TopicConfig("0", ConfigType.LONG, minimum=0),
    "segment.ms": TopicConfig("604800000", ConfigType.LONG, minimum=1),
    "unclean.leader.election.enable": TopicConfig("false", ConfigType.BOOLEAN, _BOOLEAN),
}


def value_is_legal(name: str, value: str) -> bool:
    """Whether a topic may carry this setting."""
    config = TOPIC_CONFIGS.get(name)
    if config is None:
        return False
    if config.type in {ConfigType.INT, ConfigType.LONG, ConfigType.DOUBLE}:
        return _number_is_legal(config, value)
    if config.type is ConfigType.LIST:
        items = {item.strip() for item in value.split(",")}
        return not config.choices or items <= set(config.choices)
    return not config.choices or value in config.choices


def _number_is_legal(config: TopicConfig, value: str) -> bool:
    try:
        number = float(value) if config.type is ConfigType.DOUBLE else int(value)
    except ValueError:
        return False
    biggest = int(_BIGGEST_INT if config.type is ConfigType.INT else _BIGGEST_LONG)
    return config.minimum <= number <= biggest
