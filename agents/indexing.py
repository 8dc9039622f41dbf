"""The index of events: under which key scoring knows each, for labels that name the event alone.

Ids come once, so each batch says of many events at once what it has to say, one record for each
partition of their ids.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from batuta.agents.understanding.placing import partitions_of
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import EventIndex

__all__ = ["IndexPart", "index_of"]

#: So many events stand in one record at most.
_EVENTS_MAX = 2_000


class IndexPart(NamedTuple):
    """Some events of the index, and where they belong."""

    partition: int
    events: EventIndex


def index_of(events: Sequence[Ingested], partitions: int) -> Iterator[IndexPart]:
    """Yield the index of a batch's events, in parts of one partition each."""
    if not events:
        return
    placed = partitions_of([event.event_id.encode() for event in events], partitions)
    order = np.argsort(placed, kind="stable")
    ends = np.searchsorted(placed[order], np.arange(partitions + 1))
    for partition in range(partitions):
        rows = order[ends[partition] : ends[partition + 1]].tolist()
        for begin in range(0, len(rows), _EVENTS_MAX):
            some = [events[row] for row in rows[begin : begin + _EVENTS_MAX]]
            yield IndexPart(partition, _index(some))


def _index(events: Sequence[Ingested]) -> EventIndex:
    return EventIndex(
        tuple([event.event_id for event in events]),
        tuple([event.tenant for event in events]),
        tuple([event.scoring_key for event in events]),
        tuple([event.event_time_ms for event in events]),
    )
