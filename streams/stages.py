"""The stages: the route of an event, in order, as Faust agents.

    fraud.events ─ ingestion ─ .ingested ─ scoring ─ .decisions ─ escalation ─ .escalations
                                              └─ .notifications ─ notification ─ sinks

Each agent is a thin loop around a pure one of `batuta.agents`; `ROUTE` is the order.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from faust.types import StreamT

from batuta.agents.conductor import Conductor, ConductorState
from batuta.agents.escalation import Escalation
from batuta.agents.ingestion import Ingestion, IngestionState
from batuta.agents.models.port import Model
from batuta.agents.notification import Notifier
from batuta.agents.pipelines import Shipped
from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.event import Event
from batuta.schemas.ingested import Ingested
from batuta.schemas.notification import Notification
from batuta.schemas.record import Record
from batuta.schemas.topics import Topics
from batuta.streams.app import LaneApp
from batuta.streams.batch import Batch, Outlet
from batuta.streams.sinks.port import Sink
from batuta.streams.stage import NoState, Stage

__all__ = ["ROUTE", "House", "attach"]


@dataclass(frozen=True)
class House:
    """What the stages of one pipeline are built from."""

    shipped: Shipped
    model: Model
    sinks: Sequence[Sink]

    @property
    def topics(self) -> Topics:
        """The pipeline's topics."""
        return Topics(self.shipped.pipeline.name)


def ingestion(app: LaneApp, house: House) -> None:
    """Validate, deduplicate, put in place, and add the features of the source's key."""
    topics, pipeline = house.topics, house.shipped.pipeline
    agent = Ingestion(pipeline)
    door = codec.EventCodec(pipeline.source, house.shipped.data)
    ingested = Outlet(topics.ingested, codec.encode_ingested)
    stage = Stage(
        pipeline=pipeline.name,
        name="ingestion",
        group=topics.group("ingestion"),
        inputs=(topics.events, topics.rekeyed),
        decode=door.decode,
        open_state=agent.open_state,
        changelog=topics.state("ingestion"),
        deadletters=topics.deadletters,
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.lane_count(stage))
    async def ingest(batches: StreamT[Batch[Event, IngestionState]]) -> None:
        async for batch in batches:
            async with batch as out:
                at_home = frozenset(
                    n for n, r in enumerate(batch.records) if r.topic == topics.rekeyed
                )
                result = agent.ingest(batch.items, batch.context, at_home)
                for event in result.accepted:
                    out.send(ingested, event)
                out.refuse(result.refused)
                out.forward(
                    codec.rekeyed(batch.records[event.position], topics.rekeyed, event.key)
                    for event in result.misplaced
                )
                _count_ingested(app, stage, out, result)
