"""Stocks a new registry: a pipeline's models as this machine has them go into production there."""

from datetime import UTC, datetime

from batuta.agents.pipelines import NoTrainer
from batuta.schemas.errors import UsageError
from batuta.streams.model_store import ModelStore, sample_model
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.registry.files import version_of, version_of_kept
from batuta.streams.registry.live import followed
from batuta.streams.registry.registry import Registry
from batuta.streams.settings import Settings

__all__ = ["stock"]


async def stock(on_disk: PipelineOnDisk, settings: Settings) -> None:
    """Register and promote, for each model that follows the registry, what there is of it here.

    That is the model that was trained last, or would be by the pipeline's own trainer; else the
    version that was registered last, wherever it was.

    Raises:
        UsageError: there is none.
        BrokerUnreachableError: no broker answers.
    """
    store, registry = ModelStore(settings.model_dir), Registry(settings)
    for name in followed(on_disk):
        loaded = on_disk.loaded
        if name == loaded.plan.model and not isinstance(loaded.trainer, NoTrainer):
            sample_model(loaded, settings.model_dir)
        now = datetime.now(UTC)
        try:
            version = version_of(on_disk, name, None, store, now)
        except UsageError as none:
            kept = version_of_kept(on_disk, name, store, now)
            if kept is None:
                raise none from None
            version = kept
        await registry.register(version)
        await registry.point(version, "production", now, expected=None)
