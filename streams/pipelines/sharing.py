"""Shares models among the pipelines of one worker: what is the same is opened once.

The same are files of one sha256, and what is served at one address, under one name and on the same
terms: such a model has one session or one set of connections, and rows of all pipelines travel in
its requests together. Where pipelines bound the calls that may be open, they share that bound too.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from batuta.agents.delegation.terms import Terms
from batuta.agents.models.port import AnyModel
from batuta.streams.adapters.alias import called, original
from batuta.streams.places import Places

__all__ = ["Shared"]


@dataclass
class Shared:
    """What is open in this worker."""

    _models: dict[Hashable, AnyModel] = field(default_factory=dict[Hashable, AnyModel])
    _places: dict[Hashable, Places] = field(default_factory=dict[Hashable, Places])

    def model(
        self, peer: Hashable, name: str, inputs: tuple[str, ...], opened: Callable[[], AnyModel]
    ) -> AnyModel:
        """Return a model, opened where it is not yet, under the name that a pipeline gives it.

        Args:
            peer: what makes it the same as another one.
            name: as the pipeline calls it.
            inputs: the features it sees, or the paths it reads, as the pipeline calls them.
            opened: opens it.
        """
        if peer not in self._models:
            self._models[peer] = opened()
        return called(self._models[peer], name, inputs)

    def places(self, model: AnyModel, terms: Terms) -> Places | None:
        """Return the places of a model, one set for all who bound its calls alike."""
        if terms.bulkhead is None:
            return None
        key = (id(original(model)), terms.bulkhead, terms.timeout_ms)
        if key not in self._places:
            self._places[key] = Places(model.name, terms.bulkhead, terms.timeout_ms)
        return self._places[key]
