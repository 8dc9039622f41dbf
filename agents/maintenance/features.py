"""The surprise of a reading, as a feature with a memory of its own."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from batuta.agents.identity import scoped
from batuta.agents.maintenance.detector import SurpriseTable
from batuta.agents.maintenance.model import SURPRISE_INPUT
from batuta.agents.understanding.features import Features
from batuta.schemas.ingested import Ingested

__all__ = ["SurpriseFeature"]

_ENTRIES_MAX: Final = 1_000_000


class SurpriseFeature:
    """How surprising each reading is beside all earlier ones of its asset's sensor.

    Attributes:
        names: of its one column.
    """

    names: tuple[str, ...] = (SURPRISE_INPUT,)

    def __init__(self, entries_max: int = _ENTRIES_MAX) -> None:
        """Bound what one lane remembers.

        Args:
            entries_max: how many series, about two kilobytes each.
        """
        self._entries_max = entries_max

    def open_table(self, tag: bytes) -> SurpriseTable:
        """Return the empty table of one lane, under `tag`."""
        return SurpriseTable(tag, entries_max=self._entries_max)

    def compute(self, events: Sequence[Ingested], table: SurpriseTable) -> Features:
        """Return (len(events), 1) values, and let the table remember the readings."""
        series = [
            f"{scoped(event.tenant, event.scoring_key)}/{event.data['sensor']}" for event in events
        ]
        values = np.array([event.data["value"] for event in events], np.float64)
        return table.observe(series, values)[:, None]
