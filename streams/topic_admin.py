"""Topics as declared: created where that is allowed, named where it is not.

The source topic is the user's: where it exists, its partition count is everybody's, since lanes
need co-partitions. Counts that differ refuse to start. Feedback is the user's as well, and has a
partition count of its own, which its stage shares.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from batuta.schemas.errors import BrokerUnreachableError, LaterError, TopicMismatchError
from batuta.schemas.topics import SHARED, Topics, TopicSpec
from batuta.streams.settings import Settings, client_options

__all__ = ["declare_shared", "declare_topics", "delete_topics", "present_topics"]

#: The controller answers before the brokers have heard of a new topic; on a busy machine seconds.
_LOOK_EVERY_MS: Final = 100
_LOOKS_MAX: Final = 150

_FORBIDDEN: Final = (
    ClusterAuthorizationFailedError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)


class _Created(Protocol):
    """The broker's answer, of any version: name, error code and, in later ones, a message."""

    topic_errors: Sequence[tuple[str, int, *tuple[str | None, ...]]]


async def declare_topics(
    settings: Settings, topics: Topics, bounds: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Create what is missing and check what is there.

    Args:
        settings: where the broker is.
        topics: the pipeline's.
        bounds: configuration beyond the declared one for topics that are created and not compacted.

    Returns:
        Topic name to partition count.

    Raises:
        TopicMismatchError: a topic is missing and may not be created, or counts differ.
        LaterError: the broker could not say.
        aiokafka.errors.KafkaError: the broker failed.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        counts = await _partition_counts(admin)
        partitions = counts.get(topics.events, settings.partitions)
        specs = topics.declared(partitions, counts.get(topics.feedback))
        declared = [_bounded(spec, bounds or {}) for spec in specs]
        await _create(admin, [s for s in declared if s.name not in counts], settings)
        counts = await _once_visible(admin, declared)
    finally:
        await admin.close()
    _check(declared, counts)
    return {spec.name: counts[spec.name] for spec in declared}


async def declare_shared(settings: Settings) -> None:
    """Create what is missing of the topics that all pipelines share.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicMismatchError: one is missing and may not be created, or has several partitions.
        LaterError: the broker could not say.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        counts = await _partition_counts(admin)
        await _create(admin, [spec for spec in SHARED if spec.name not in counts], settings)
        counts = await _once_visible(admin, SHARED)
    except KafkaError as error:
        raise BrokerUnreachableError(f"no broker answers at {settings.brokers}") from error
    finally:
        await admin.close()
    _check(SHARED, counts)


async def present_topics(settings: Settings, topics: Topics) -> list[str]:
    """Return which topics of a pipeline are there already, by name.

    Raises:
        aiokafka.errors.KafkaError: the broker failed.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        counts = await _partition_counts(admin)
    finally:
        await admin.close()
    return [spec.name for spec in replace(topics, budgets=True).declared(1) if spec.name in counts]


async def delete_topics(settings: Settings, topics: Topics) -> None:
    """Delete every topic of a pipeline; what is not there or may not be deleted stays so.

    Raises:
        aiokafka.errors.KafkaError: the broker failed.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.delete_topics([spec.name for spec in replace(topics, budgets=True).declared(1)])
    finally:
        await admin.close()


def _bounded(spec: TopicSpec, bounds: Mapping[str, str]) -> TopicSpec:
    if spec.configs.get("cleanup.policy") == "compact":
        return spec
    return replace(spec, configs={**spec.configs, **bounds})


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    described = await admin.describe_topics()
    return {str(topic["topic"]): len(topic["partitions"]) for topic in described}


async def _once_visible(
    admin: AIOKafkaAdminClient, declared: Sequence[TopicSpec]
) -> dict[str, int]:
    """Ask until every broker's view has what was created, for a bounded while."""
    counts = await _partition_counts(admin)
    for _ in range(_LOOKS_MAX):
        if all(spec.name in counts for spec in declared):
            break
        await asyncio.sleep(_LOOK_EVERY_MS / 1000)
        counts = await _partition_counts(admin)
    return counts


async def _create(
    admin: AIOKafkaAdminClient, missing: Sequence[TopicSpec], settings: Settings
) -> None:
    if not missing:
        return
    new = [
        NewTopic(
            spec.name,
            spec.partitions,
            settings.replication_factor,
            topic_configs=dict(spec.configs),
        )
        for spec in missing
    ]
    response = cast("_Created", await admin.create_topics(new))
    refused = [
        (str(name), for_code(code), text)
        for name, code, *text in response.topic_errors
        if code not in (0, TopicAlreadyExistsError.errno)
    ]
    if not refused:
        return
    names = ", ".join(name for name, _, _ in refused)
    name, error, text = refused[0]
    if issubclass(error, _FORBIDDEN):
        fixes = "\n".join(_how_to_create(spec, settings) for spec in missing)
        raise TopicMismatchError(
            f"missing topics, and this worker may not create them: {names}\n{fixes}"
        )
    reason = next((part for part in text if part), error.description)
    raise LaterError(f"the broker did not create {name}: {reason}")


def _how_to_create(spec: TopicSpec, settings: Settings) -> str:
    configs = "".join(f" --config {key}={value}" for key, value in spec.configs.items())
    return (
        f"  kafka-topics.sh --create --topic {spec.name} --partitions {spec.partitions}"
        f" --replication-factor {settings.replication_factor}{configs}"
    )


def _check(declared: Sequence[TopicSpec], counts: dict[str, int]) -> None:
    missing = [spec.name for spec in declared if spec.name not in counts]
    if missing:
        raise LaterError(f"created but not yet visible: {', '.join(missing)}")
    wrong = [
        f"  {spec.name} has {counts[spec.name]} partitions, expected {spec.partitions}"
        for spec in declared
        if counts[spec.name] != spec.partitions
    ]
    if wrong:
        source = declared[0].name
        raise TopicMismatchError(
            f"partition counts differ from {source}'s, and lanes need them equal:\n"
            + "\n".join(wrong)
        )
