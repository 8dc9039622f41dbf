"""Furnishes a pipeline: opens what its stages ask and tell, as its file and the registry say."""

from collections.abc import Callable

from batuta.streams.house import House
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.pipelines.opening import open_models
from batuta.streams.registry.following import Following
from batuta.streams.registry.live import live_models
from batuta.streams.settings import Settings

__all__ = ["furnish"]


def furnish(
    on_disk: PipelineOnDisk, settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> House:
    """Return a pipeline ready to be worked on; where it follows the registry, that is read whole.

    Args:
        on_disk: the pipeline.
        settings: where the brokers and the models are.
        progress: told, in a few words, what takes long.

    Raises:
        BrokerUnreachableError: the registry is needed, and no broker answers.
        UsageError: a model cannot be opened, or is not what the file or the registry says.
    """
    live = live_models(settings, on_disk)
    cards = None if live is None else live.cards
    models = open_models(on_disk, settings.model_dir, progress, cards)
    following = None
    if live is not None:
        store = ModelStore(settings.model_dir)
        following = Following(on_disk.loaded.pipeline.name, live, store.load)
    return House(on_disk.loaded, models, tuple(on_disk.sinks.values()), following=following)
