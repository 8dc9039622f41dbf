"""The outside world of a rehearsal: a model that computes, a sink that remembers; both may fail."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

import numpy as np

from batuta.agents.models.port import Matrix, Scores
from batuta.agents.pipelines import Shipped
from batuta.schemas.errors import LaterError, SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.rehearsal.happenings import Happenings
from batuta.streams.rehearsal.network import Network

__all__ = ["RehearsedModel", "RememberingSink", "Unreliable"]

_ANSWERS_WITHIN_S: Final = 0.03
_GOLDEN: Final = 0.6180339887


class ModelAwayError(LaterError):
    """The rehearsed model did not answer this time."""


@dataclass(frozen=True, slots=True)
class Unreliable:
    """Lets calls of the outside world fail as the weather says."""

    network: Network
    chance: Random
    happenings: Happenings

    def fails(self, kind: Literal["model_failure", "sink_failure"], who: str) -> bool:
        """Draw whether a call fails, and count it."""
        weather = self.network.weather
        share = weather.model_failure if kind == "model_failure" else weather.sink_failure
        failed = self.chance.random() < share
        if failed:
            self.happenings.fault(kind, who)
        return failed


class RehearsedModel:
    """Answers from its inputs alone, some time later; now and then it fails."""

    name = "rehearsed"
    version = "rehearsed@000000000000"

    def __init__(self, shipped: Shipped, unreliable: Unreliable) -> None:
        self.inputs = shipped.feature_names
        self._unreliable = unreliable

    async def answer(self, inputs: Matrix) -> Scores:
        """Return one score per row.

        Raises:
            ModelAwayError: it is out of reach, this time.
        """
        await asyncio.sleep(self._unreliable.chance.random() * _ANSWERS_WITHIN_S)
        if self._unreliable.fails("model_failure", self.name):
            raise ModelAwayError
        return _scores(inputs)


def _scores(inputs: Matrix) -> Scores:
    """Return a score from 0 to 1 per row that changes with every input."""
    weights = np.arange(1, inputs.shape[1] + 1, dtype=np.float64)
    sums = np.nan_to_num(inputs.astype(np.float64)) @ weights
    return np.mod(sums * _GOLDEN, 1.0) ** 3


class RememberingSink:
    """Takes notifications, all of them after a while."""

    channel = "rehearsed"

    def __init__(self, unreliable: Unreliable) -> None:
        self._unreliable = unreliable
        self.taken: list[str] = []

    async def deliver(self, notification: Notification) -> None:
        """Take one.

        Raises:
            SinkUnavailableError: not this time.
        """
        await asyncio.sleep(0.001)
        if self._unreliable.fails("sink_failure", self.channel):
            raise SinkUnavailableError("not this time")
        self.taken.append(notification.notification_id)

    async def close(self) -> None:
        """Let go of nothing."""
