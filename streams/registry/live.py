"""What is live for a pipeline: versions in production of the models that follow the registry."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batuta.agents.models.card import ModelCard
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.registry.files import live_card
from batuta.streams.registry.registry import Registry
from batuta.streams.registry.standing import Standing
from batuta.streams.settings import Settings

__all__ = ["Live", "followed", "live_models", "live_of"]


@dataclass(frozen=True, slots=True)
class Live:
    """Versions in production, and since when.

    Attributes:
        control_offset: behind the control record that moved any of them last.
        cards: by model.
    """

    control_offset: int
    cards: Mapping[str, ModelCard]


def live_models(settings: Settings, on_disk: PipelineOnDisk) -> Live | None:
    """Return what is live for the models whose entry says `version: production`.

    Args:
        settings: where the brokers are.
        on_disk: the pipeline.

    Returns:
        None where no entry does; Kafka is not asked then.

    Raises:
        BrokerUnreachableError: no broker answers.
        UsageError: no version of one is in production.
    """
    names = followed(on_disk)
    if not names:
        return None
    standing = asyncio.run(Registry(settings).standing())
    return live_of(standing, on_disk.loaded.pipeline.name, names)


def followed(on_disk: PipelineOnDisk) -> tuple[str, ...]:
    """Return the models whose entry says `version: production`."""
    entries = on_disk.document.file.models
    return tuple(name for name, entry in entries.items() if entry.version is not None)


def live_of(standing: Standing, pipeline: str, names: Sequence[str]) -> Live:
    """Return what is live for some models.

    Raises:
        UsageError: no version of one is in production.
    """
    cards = {name: live_card(standing, pipeline, name) for name in names}
    return Live(standing.moved_at(pipeline, names), cards)
