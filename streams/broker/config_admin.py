"""Reading and changing the settings of topics; those of the node are its own affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.messages_cluster import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResponse,
    AlterConfigsResult,
    ConfigEntry,
    ConfigSynonym,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    IncrementalConfig,
)
from batuta.streams.broker.state import NODE_ID, BrokerState, Call
from batuta.streams.broker.topic_configs import TOPIC_CONFIGS, ConfigType, value_is_legal

if TYPE_CHECKING:
    from batuta.streams.broker.topics import Topic

__all__ = ["alter_configs", "describe_configs", "incremental_alter_configs"]

TOPIC_RESOURCE, NODE_RESOURCE = 2, 4
FROM_TOPIC, FROM_DEFAULT = 1, 5
SET, DELETE, APPEND = range(3)

NODE_CONFIGS: Final = {"node.id": str(NODE_ID), "auto.create.topics.enable": "false"}


def describe_configs(
    state: BrokerState, request: DescribeConfigsRequest, _: Call
) -> DescribeConfigsResponse:
    """Tell settings, with where each value comes from."""
    return DescribeConfigsResponse(
        results=tuple(
            _describe(state, asked, synonyms=request.include_synonyms)
            for asked in request.resources
        )
    )


def _describe(
    state: BrokerState, asked: DescribeConfigsResource, *, synonyms: bool
) -> DescribeConfigsResult:
    kind, name = asked.resource_type, asked.resource_name
    if kind == NODE_RESOURCE and name in {"", str(NODE_ID)}:
        return DescribeConfigsResult(Code.NONE, None, kind, name, _node_entries())
    if kind != TOPIC_RESOURCE:
        return DescribeConfigsResult(Code.INVALID_REQUEST, None, kind, name)
    topic = state.topics.get(name)
    if topic is None:
        return DescribeConfigsResult(Code.UNKNOWN_TOPIC_OR_PARTITION, None, kind, name)
    wanted = TOPIC_CONFIGS if asked.keys is None else asked.keys
    entries = tuple(_entry(topic, key, synonyms=synonyms) for key in TOPIC_CONFIGS if key in wanted)
    return DescribeConfigsResult(Code.NONE, None, kind, name, entries)


def _node_entries() -> tuple[ConfigEntry, ...]:
    return tuple(
        ConfigEntry(name, value, read_only=True, source=FROM_DEFAULT, config_type=ConfigType.STRING)
        for name, value in NODE_CONFIGS.items()
    )


def _entry(topic: Topic, name: str, *, synonyms: bool) -> ConfigEntry:
    own = topic.configs.get(name)
    return ConfigEntry(
        name,
        topic.config(name),
        source=FROM_DEFAULT if own is None else FROM_TOPIC,
        synonyms=_synonyms(name, own) if synonyms else (),
        config_type=TOPIC_CONFIGS[name].type,
    )


def _synonyms(name: str, own: str | None) -> tuple[ConfigSynonym, ...]:
    default = ConfigSynonym(name, TOPIC_CONFIGS[name].default, FROM_DEFAULT)
    return (default,) if own is None else (ConfigSynonym(name, own, FROM_TOPIC), default)


def alter_configs(
    state: BrokerState, request: AlterConfigsRequest, _: Call
) -> AlterConfigsResponse:
    """Replace all settings of topics."""
    results: list[AlterConfigsResult] = []
    for asked in request.resources:
        topic, error = _find(state, asked)
        if topic is not None:
            configs = {c.name: c.value for c in asked.configs if c.value is not None}
            error = _change(state, topic, configs, validate_only=request.validate_only)
        results.append(_result(asked, error))
    return AlterConfigsResponse(results=tuple(results))


def incremental_alter_configs(
    state: BrokerState, request: IncrementalAlterConfigsRequest, _: Call
) -> AlterConfigsResponse:
    """Change some settings of topics."""
    results: list[AlterConfigsResult] = []
    for asked in request.resources:
        topic, error = _find(state, asked)
        if topic is not None:
            configs = dict(topic.configs)
            legal = [_apply(topic, configs, change) for change in asked.configs]
            dry = request.validate_only or not all(legal)
            error = _change(state, topic, configs, validate_only=dry)
            error = error if all(legal) else Code.INVALID_CONFIG
        results.append(_result(asked, error))
    return AlterConfigsResponse(results=tuple(results))


def _find(
    state: BrokerState, asked: AlterConfigsResource | IncrementalAlterConfigsResource
) -> tuple[Topic | None, Code]:
    if asked.resource_type != TOPIC_RESOURCE:
        return None, Code.INVALID_REQUEST
    return state.topics.get(asked.resource_name), Code.UNKNOWN_TOPIC_OR_PARTITION


def _change(
    state: BrokerState, topic: Topic, configs: dict[str, str], *, validate_only: bool
) -> Code:
    if not all(value_is_legal(name, value) for name, value in configs.items()):
        return Code.INVALID_CONFIG
    try:
        if not validate_only:
            state.topics.configure(topic, configs)
    except DiskError:
        return Code.KAFKA_STORAGE_ERROR
    return Code.NONE


def _apply(topic: Topic, configs: dict[str, str], change: IncrementalConfig) -> bool:
    """Make one change, if it can be: only lists are appended to and subtracted from."""
    value = change.value or ""
    config = TOPIC_CONFIGS.get(change.name)
    if change.operation == DELETE:
        configs.pop(change.name, None)
    elif change.operation == SET:
        configs[change.name] = value
    elif config is None or config.type is not ConfigType.LIST:
        return False
    else:
        items = [item for item in topic.config(change.name).split(",") if item]
        named = value.split(",")
        kept = [item for item in items if item not in named]
        configs[change.name] = ",".join(kept + named if change.operation == APPEND else kept)
    return True


def _result(
    asked: AlterConfigsResource | IncrementalAlterConfigsResource, error: Code
) -> AlterConfigsResult:
    message = f"{error.name}: {asked.resource_name}" if error else None
    return AlterConfigsResult(error, message, asked.resource_type, asked.resource_name)
