"""Stocks a new registry: a pipeline's models as this machine has them go into production there."""

from datetime import UTC, datetime

from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.registry.files import version_here
from batuta.streams.registry.live import followed
from batuta.streams.registry.registry import Registry
from batuta.streams.settings import Settings

__all__ = ["stock"]


async def stock(on_disk: PipelineOnDisk, settings: Settings) -> None:
    """Register and promote, for each model that follows the registry, what there is of it here.

    Raises:
        UsageError: there is nothing.
        BrokerUnreachableError: no broker answers.
    """
    store, registry = ModelStore(settings.model_dir), Registry(settings)
    for name in followed(on_disk):
        now = datetime.now(UTC)
        version = version_here(on_disk, name, store, now)
        await registry.register(version)
        await registry.point(version, "production", now, expected=None)
