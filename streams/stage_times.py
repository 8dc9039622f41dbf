"""Who tells each stage of event time, live and in a replay."""

from collections.abc import Mapping
from typing import Final

from batuta.schemas.labels import known_at_ms
from batuta.schemas.topics import Topics
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.lanes.stage import EventTime

__all__ = ["ingestion_time", "lanes_of_ingestion", "replayed", "scoring_time"]

#: In a replay nobody is left out: whoever publishes says when it ends.
_NEVER_IDLE_MS: Final = 366 * 86_400_000


def lanes_of_ingestion(app: LaneApp, topics: Topics) -> int:
    """Return how many lanes of ingestion there are."""
    return app.partitions(topics.events)


def ingestion_time(house: House) -> EventTime:
    """Return who tells ingestion of event time, and whom it tells."""
    topics, pipeline = house.topics, house.shipped.pipeline
    if not house.aligned:
        return EventTime(pipeline.source.lateness.idle_ms, tells=(topics.ingested,))
    below = (topics.ingested, topics.index) if pipeline.labels else (topics.ingested,)
    return EventTime(_NEVER_IDLE_MS, {topics.events: 1}, below)


def replayed(house: House, hears: Mapping[str, int], tells: str) -> EventTime | None:
    """Return how a stage on the way of labels keeps time in a replay; live nobody waits for it."""
    return EventTime(_NEVER_IDLE_MS, hears, (tells,)) if house.aligned else None


def scoring_time(app: LaneApp, house: House) -> EventTime:
    """Return who tells scoring of event time, and whether its inputs are aligned by it."""
    topics, pipeline = house.topics, house.shipped.pipeline
    lanes = lanes_of_ingestion(app, topics)
    if not house.aligned:
        return EventTime(pipeline.source.lateness.idle_ms, hears={topics.ingested: lanes})
    labels = {topics.outcomes: app.partitions(topics.labels)} if pipeline.shares else {}
    heard = {**labels, topics.ingested: lanes}
    return EventTime(
        _NEVER_IDLE_MS, heard, time_of=known_at_ms, id_of=lambda item: str(item.event_id)
    )
