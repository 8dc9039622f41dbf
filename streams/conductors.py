"""The conductors of a scoring stage: one after the other, as versions of its models go live.

A batch is led by one of them from its beginning to its end. What one began it finishes, also where
an answer comes when the next one leads: the question remembers who asked.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from batuta.agents.conductor import Conductor
from batuta.agents.models.port import AnyModel
from batuta.streams.adapters.isolation import Threads
from batuta.streams.at_once import AtOnce
from batuta.streams.guard import Guard
from batuta.streams.house import House
from batuta.streams.metered_model import metered
from batuta.streams.registry.live import Live
from batuta.streams.telemetry.facts import Fact
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["Conductors"]


class Conductors:
    """Leads the batches of one pipeline.

    Attributes:
        now: leads the batches that begin.
    """

    def __init__(self, house: House, telemetry: StageTelemetry) -> None:
        """Begin with the models of the house, metered, and asked at once.

        Raises:
            UsageError: a model wants a feature that the pipeline does not compute.
        """
        self._shipped, self._telemetry = house.shipped, telemetry
        isolation = Threads(telemetry.part_broke)
        self._deciding = replace(house.shipped.deciding, isolation=isolation)
        self._models = metered(house.models, telemetry)
        delegating = house.shipped.deciding.delegating
        terms = {} if delegating is None else delegating.terms
        guards = {
            name: Guard(name, terms[name], telemetry.tell, places)
            for name, places in house.places.items()
        }
        self._driver = AtOnce(_by_name(self._models), terms, telemetry.tell, guards)
        self.now = self._conductor(self._models, self._driver)
        self._following = house.following
        if house.following is not None:
            self.now.control_offset = house.following.live.control_offset
            house.following.attend(self)

    async def under(self, control_offset: int) -> Conductor:
        """Return who leads a batch that begins.

        Args:
            control_offset: what the lane's batches have met already, here or at another worker.
        """
        if self._following is not None:
            await self._following.reached(control_offset)
        return self.now

    async def prepare(self, live: Live, models: Mapping[str, AnyModel]) -> Callable[[], None]:
        """Make another conductor for models that take the place of some.

        Raises:
            UsageError: a model wants a feature that the pipeline does not compute.
        """
        assert isinstance(self._models, Mapping), "what follows the registry has a name"
        fresh = metered(models, self._telemetry)
        assert isinstance(fresh, Mapping), "as many models as were given"
        together = {**self._models, **fresh}
        driver = self._driver.followed_by(together)
        following = await asyncio.to_thread(self._conductor, together, driver)
        following.control_offset = live.control_offset

        def take_up() -> None:
            self._models, self._driver, self.now = together, driver, following

        return take_up

    def tell(self, fact: Fact) -> None:
        """Count a fact of the stage, and say it where that helps."""
        self._telemetry.tell(fact)

    def _conductor(self, models: AnyModel | Mapping[str, AnyModel], driver: AtOnce) -> Conductor:
        shipped = self._shipped
        conductor = Conductor(shipped.pipeline, models, shipped.reasons, self._deciding)
        conductor.driver, conductor.refusing = driver, driver.refusing
        return conductor


def _by_name(models: AnyModel | Mapping[str, AnyModel]) -> Mapping[str, AnyModel]:
    return models if isinstance(models, Mapping) else {models.name: models}
