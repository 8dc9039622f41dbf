"""Furnishes a pipeline: opens what its stages ask and tell, as its file and the registry say."""

from collections.abc import Callable

from batuta.streams.house import House
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.loading import PipelineOnDisk
from batuta.streams.pipelines.opening import open_models
from batuta.streams.pipelines.sharing import Shared
from batuta.streams.registry.following import Following
from batuta.streams.registry.live import live_models
from batuta.streams.settings import Settings

__all__ = ["furnish"]


def furnish(
    on_disk: PipelineOnDisk,
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    shared: Shared | None = None,
) -> House:
    """Return a pipeline ready to be worked on; where it follows the registry, that is read whole.

    Args:
        on_disk: the pipeline.
        settings: where the brokers and the models are.
        progress: told, in a few words, what takes long.
        shared: what other pipelines of this process have opened.

    Raises:
        BrokerUnreachableError: the registry is needed, and no broker answers.
        UsageError: a model cannot be opened, or is not what the file or the registry says.
    """
    live = live_models(settings, on_disk)
    cards = None if live is None else live.cards
    shared = shared or Shared()
    models = open_models(on_disk, settings.model_dir, progress, cards, shared)
    following = None
    if live is not None:
        store = ModelStore(settings.model_dir)
        following = Following(on_disk.loaded.pipeline.name, live, store.load)
    delegating = on_disk.loaded.deciding.delegating
    terms = {} if delegating is None else delegating.terms
    places = {name: shared.places(models[name], of) for name, of in terms.items() if name in models}
    return House(
        on_disk.loaded,
        models,
        tuple(on_disk.sinks.values()),
        following=following,
        places={name: one for name, one in places.items() if one is not None},
    )
