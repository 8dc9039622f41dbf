"""Following: what is live for one pipeline of a running worker, as the registry moves.

A version that takes another's place is loaded by its sha256, warmed, and made ready for use beside
the one that works; then batches that begin meet it, all lanes of the worker at once. What is
refused on the way changes nothing: the former versions go on, and the new one is tried again, for
a file may come later than its pointer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from batuta.agents.models.card import ModelCard
from batuta.agents.models.port import AnyModel
from batuta.schemas.errors import UsageError
from batuta.streams.registry.live import Live, live_of
from batuta.streams.registry.standing import Standing
from batuta.streams.telemetry.facts import Fact
from batuta.streams.telemetry.model_facts import VersionRefused, VersionsAdopted

__all__ = ["Adopter", "Following"]


class Adopter(Protocol):
    """Who works with what is live."""

    async def prepare(self, live: Live, models: Mapping[str, AnyModel]) -> Callable[[], None]:
        """Make models ready for use, beside those that are used.

        Returns:
            What lets the next batch have them.

        Raises:
            UsageError: they do not fit the pipeline.
        """
        ...

    def tell(self, fact: Fact) -> None:
        """Count a fact, and say it where that helps."""
        ...


class Following:
    """What is live for one pipeline.

    Args:
        pipeline: its name.
        live: what it began with.
        load: opens a version, its hash compared and its warm-up answered; called in a thread.

    Attributes:
        live: what its batches meet.
    """

    def __init__(self, pipeline: str, live: Live, load: Callable[[ModelCard], AnyModel]) -> None:
        self.pipeline = pipeline
        self.live = live
        self._load = load
        self._decided = live.control_offset
        self._refused: tuple[int, str] | None = None
        self._adopter: Adopter | None = None
        self._read_on: Callable[[], Awaitable[None]] | None = None

    @property
    def attended(self) -> bool:
        """Whether anybody works with what is live."""
        return self._adopter is not None

    @property
    def refusing(self) -> bool:
        """Whether what stands in production could not be taken up so far."""
        return self._refused is not None

    def attend(self, adopter: Adopter) -> None:
        """Let somebody work with what is live."""
        assert self._adopter is None, "one conductor at a time leads a pipeline"
        self._adopter = adopter
        adopter.tell(VersionsAdopted(self.live.control_offset, _versions(self.live)))

    def read_by(self, read_on: Callable[[], Awaitable[None]]) -> None:
        """Take whoever reads control to its present end when asked."""
        self._read_on = read_on

    async def reached(self, offset: int) -> None:
        """Return once what control says below an offset was taken up, or refused.

        Where control has fewer records than that, another one took its place: as it is now holds.
        """
        if self._decided < offset and self._read_on is not None:
            await self._read_on()

    async def consider(self, standing: Standing) -> None:
        """Take up what stands in production, where that has moved."""
        names = tuple(self.live.cards)
        moved_at = standing.moved_at(self.pipeline, names)
        if moved_at <= self.live.control_offset:
            return
        try:
            await self._adopt(live_of(standing, self.pipeline, names))
        except UsageError as refusal:
            self._refuse(moved_at, _asked_for(standing, self.pipeline, names), refusal)
        self._decided = max(self._decided, moved_at)

    async def _adopt(self, live: Live) -> None:
        adopter = self._adopter
        assert adopter is not None, "nobody follows for nobody"
        models: dict[str, AnyModel] = {}
        for name, card in live.cards.items():
            former = self.live.cards[name]
            if card.sha256 == former.sha256:
                continue
            if card.inputs != former.inputs:
                raise UsageError(
                    f"{card.version} sees {', '.join(card.inputs)}, the pipeline of this worker "
                    f"shows {name} {', '.join(former.inputs)}; start workers of its pipeline file"
                )
            models[name] = await asyncio.to_thread(self._loaded, card)
        take_up = await adopter.prepare(live, models)
        take_up()
        self.live, self._refused = live, None
        adopter.tell(VersionsAdopted(live.control_offset, _versions(live)))

    def _loaded(self, card: ModelCard) -> AnyModel:
        try:
            return self._load(card)
        except UsageError:
            raise
        except Exception as error:  # a model is anybody's work
            raise UsageError(f"{card.version} broke as it was loaded: {error!r}") from error

    def _refuse(self, offset: int, asked_for: str, refusal: UsageError) -> None:
        """Say why the former versions go on, once for each reason."""
        assert self._adopter is not None, "nobody follows for nobody"
        if self._refused != (offset, str(refusal)):
            self._refused = (offset, str(refusal))
            self._adopter.tell(VersionRefused(offset, asked_for, refusal))


def _versions(live: Live) -> Mapping[str, str]:
    return {name: card.version for name, card in live.cards.items()}


def _asked_for(standing: Standing, pipeline: str, names: Sequence[str]) -> str:
    found = (standing.at(pipeline, name, "production") for name in names)
    return ", ".join(one.version_id for one in found if one is not None)
