"""Which versions a worker starts with: control read whole, before any model is loaded."""

import asyncio
from collections.abc import Callable, Mapping

from batuta.agents.models.card import ModelCard
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.registry.files import live_card
from batuta.streams.registry.registry import Registry
from batuta.streams.settings import Settings

__all__ = ["live_models"]


def live_models(
    settings: Settings, on_disk: PipelineOnDisk, told: Callable[[int, str], None]
) -> Mapping[str, ModelCard]:
    """Return the cards of the models whose entry says `version: production`, by name.

    Kafka is not asked where no entry does.

    Args:
        settings: where the brokers are.
        on_disk: the pipeline.
        told: the control offset, and the version of each model that stood in production at it.

    Raises:
        BrokerUnreachableError: no broker answers.
        UsageError: no version of one is in production.
    """
    entries = on_disk.document.file.models
    names = [name for name, entry in entries.items() if entry.version is not None]
    if not names:
        return {}
    standing = asyncio.run(Registry(settings).standing())
    pipeline = on_disk.loaded.pipeline.name
    found = {name: live_card(standing, pipeline, name) for name in names}
    for card in found.values():
        told(standing.control_offset, card.version)
    return found
