"""The shares of one stage: several tables of one key, fed together by events and outcomes.

What an outcome says is the difference to what was said of its event before: a first mark adds, a
correction takes back, and what changes nothing is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.identity import scoped
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.shares import EVENT, DelayedShares, ShareRule, share_names
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.pipeline_rules import ShareFeature

__all__ = ["SHARE_TAGS", "ShareSet", "Shared"]

#: Tags of the tables, in the order in which a pipeline declares them.
SHARE_TAGS: Final = tuple(bytes([code]) for code in b"sabcdefghijklnop")


@dataclass(frozen=True, slots=True)
class Shared:
    """What became of a batch.

    Attributes:
        features: (events, columns), outcomes left out.
        expired: how many outcomes came when their event was remembered no more.
    """

    features: Features
    expired: int


class ShareSet:
    """What a stage's shares hold, per lane.

    Attributes:
        names: of its features, one per column.
        tables: its state.
        holds: what each table is for, by its tag.
    """

    def __init__(self, shares: Sequence[ShareFeature]) -> None:
        assert len(shares) <= len(SHARE_TAGS), "more shares than tags"
        self.names: tuple[str, ...] = tuple(name for one in shares for name in share_names(one))
        self.tables = tuple(
            DelayedShares(tag, ShareRule.of(one))
            for tag, one in zip(SHARE_TAGS, shares, strict=False)
        )
        self.holds = {
            table.tag: f"share {one.name} by {one.by}, of {one.of}"
            for table, one in zip(self.tables, shares, strict=True)
        }

    def take(self, items: Sequence[Ingested | LabelOutcome]) -> Shared:
        """Take events and outcomes in, in order, and return the events' features."""
        if not self.tables:
            events = sum(isinstance(item, Ingested) for item in items)
            return Shared(np.empty((events, 0)), 0)
        told = [item for item in items if isinstance(item, Ingested) or _mark(item)]
        keys = [scoped(item.tenant, item.scoring_key) for item in told]
        times_ms = np.array([item.event_time_ms for item in told], np.int64)
        kinds = np.array(
            [EVENT if isinstance(item, Ingested) else _mark(item) for item in told], np.int64
        )
        return self._taken(keys, times_ms, kinds)

    def _taken(
        self, keys: Sequence[str], times_ms: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64]
    ) -> Shared:
        events = kinds == EVENT
        taken = [table.take(keys, times_ms, kinds) for table in self.tables]
        expired = taken[0].expired & ~events
        features = np.hstack([one.features[events] for one in taken])
        return Shared(features, int(np.count_nonzero(expired)))


def _mark(outcome: LabelOutcome) -> int:
    """Return `MARKED`, `UNMARKED`, or 0 where an outcome changes nothing."""
    return int(outcome.label) - int(bool(outcome.previous))
