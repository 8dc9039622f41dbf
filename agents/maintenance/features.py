"""The surprise of a reading: a streaming anomaly detector as a feature that remembers."""

from collections.abc import Sequence

import numpy as np

from batuta.agents.maintenance.model import SURPRISE_INPUT
from batuta.agents.maintenance.novelty import WIDTH, empty_memory, surprises
from batuta.agents.understanding.features import Features, Memory
from batuta.schemas.ingested import Ingested

__all__ = ["SurpriseFeature"]


class SurpriseFeature:
    """How surprising each reading is beside all earlier ones of its asset's sensor.

    One setting serves all series. Only what came before counts, in the order of arrival: times may
    step back.

    Attributes:
        names: of its one column.
        width: what is remembered of a series, under three kilobytes however long it runs.
        per: a series is a sensor of an asset.
    """

    names: tuple[str, ...] = (SURPRISE_INPUT,)
    width: int = WIDTH
    per: tuple[str, ...] = ("sensor",)

    def __init__(self) -> None:
        # Compiled before there is a deadline.
        surprises(empty_memory(), np.zeros(1))

    def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
        """Return (len(events), 1) values, 0 is no surprise, and remember the readings."""
        if not memory.any():
            memory[:] = empty_memory()
        values = np.array([event.data["value"] for event in events], np.float64)
        return surprises(memory, values)[:, None]
