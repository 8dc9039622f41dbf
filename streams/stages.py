"""The stages: the route of an event, in order, as Faust agents.

    .events ── ingestion ── .ingested ── scoring ── .decisions ── escalation ── .escalations
                                            ├────── .actions
                                            └────── .notifications ── notification ── sinks

Each agent is a thin loop around a pure one of `batuta.agents`; `ROUTE` is the order, and the whole
of it. Each stage also reads `<group>.redrive`, where the dead letters it wrote come back to it and
to nobody else. What a batch counts is counted after its commit, so that a figure is never ahead of
Kafka.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
from faust.types import StreamT
from pydantic import BaseModel

from batuta.agents.conductor import Conductor, ConductorState
from batuta.agents.escalation import Escalation
from batuta.agents.ingestion import Ingest, Ingestion, IngestionState
from batuta.agents.models.port import Model
from batuta.agents.notification import Notifier
from batuta.agents.pipelines import LoadedPipeline
from batuta.agents.policy.actions import actions_of
from batuta.agents.state.port import State
from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.event import Event
from batuta.schemas.ingested import Ingested
from batuta.schemas.notification import Notification
from batuta.schemas.record import Record
from batuta.schemas.topics import Topics
from batuta.streams.adapters.isolation import Threads
from batuta.streams.app import LaneApp, clock_ms
from batuta.streams.delivery import Delivery
from batuta.streams.lanes.batch import Batch, Outlet
from batuta.streams.lanes.stage import EventTime, Intake, NoState, Stage
from batuta.streams.metered_model import MeteredModel
from batuta.streams.sinks.port import Sink
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["ROUTE", "House"]

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class House:
    """What the stages of one pipeline are built from."""

    shipped: LoadedPipeline
    model: Model
    sinks: Sequence[Sink]

    @property
    def topics(self) -> Topics:
        """The pipeline's topics."""
        return Topics(self.shipped.pipeline.name)


def ingestion(app: LaneApp, house: House) -> None:
    """Validate, put in place, drop duplicates, add the features of the source's key."""
    topics, pipeline = house.topics, house.shipped.pipeline
    agent = Ingestion(pipeline)
    telemetry = app.telemetry(pipeline.name, "ingestion")
    ingested = Outlet(topics.ingested, codec.encode_ingested)
    stage = Stage(
        pipeline=pipeline.name,
        name="ingestion",
        group=topics.group("ingestion"),
        inputs=(topics.events, topics.rekeyed, topics.redrive("ingestion")),
        decode=_door(house, telemetry),
        open_state=agent.open_state,
        changelog=topics.state("ingestion"),
        deadletters=topics.deadletters,
        event_time=EventTime(pipeline.source.lateness.idle_ms, tells=topics.ingested),
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def ingest(batches: StreamT[Batch[Event[BaseModel], IngestionState]]) -> None:
        async for batch in batches:
            async with batch as out:
                at_home = _positions(batch.records, topics.rekeyed)
                result = agent.ingest(batch.items, batch.context, at_home)
                for event in result.accepted:
                    out.send(ingested, event)
                for astray in result.misplaced:
                    record = batch.records[astray.position]
                    out.forward(codec.rekeyed(record, topics.rekeyed, astray.key))
                for late in result.late if pipeline.source.lateness.rule == "aside" else ():
                    out.forward(codec.put_aside(batch.records[late.position], topics.late))
                out.refuse(result.refused)
                out.after_commit(partial(_count_ingested, telemetry, result))


def scoring(app: LaneApp, house: House) -> None:
    """Understand, select, delegate, verify and decide; one decision per event."""
    topics, shipped = house.topics, house.shipped
    telemetry = app.telemetry(shipped.pipeline.name, "scoring")
    conductor = _conductor(house, telemetry)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="scoring",
        group=topics.group("scoring"),
        inputs=(topics.ingested, topics.redrive("scoring")),
        decode=codec.decode_ingested,
        open_state=conductor.open_state,
        changelog=topics.state("scoring"),
        deadletters=topics.deadletters,
        event_time=EventTime(
            shipped.pipeline.source.lateness.idle_ms,
            hears={topics.ingested: app.partitions(topics.events)},
        ),
        parked_max=shipped.pipeline.parking.steps_max,
    )
    notifier = Notifier(shipped.pipeline, shipped.reasons, shipped.plan.told)
    actions = Outlet(topics.actions, codec.encode_action)
    decisions = Outlet(topics.decisions, codec.encode_decision)
    notifications = Outlet(topics.notifications, codec.encode_notification)

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def score(batches: StreamT[Batch[Ingested, ConductorState]]) -> None:
        async for batch in batches:
            async with batch as out:
                question = conductor.understand(batch.items, batch.context)
                answer = await out.ask(question, conductor.ask(question))
                concluded = conductor.conclude(question, answer, batch.context, batch.news)
                if (follow_up := concluded.follow_up) is not None:
                    out.ask_later(follow_up, partial(conductor.ask, follow_up))
                decided = concluded.decisions
                for decision in decided:
                    out.send(decisions, decision)
                for action in actions_of(decided):
                    out.send(actions, action)
                for notification in notifier.notify(decided, batch.context):
                    out.send(notifications, notification)
                out.after_commit(partial(_count_decided, telemetry, decided))


def escalation(app: LaneApp, house: House) -> None:
    """Open a case for every decision that asks for a person."""
    topics, shipped = house.topics, house.shipped
    agent = Escalation(shipped.pipeline)
    notifier = Notifier(shipped.pipeline, shipped.reasons, shipped.plan.told)
    escalations = Outlet(topics.escalations, codec.encode_case)
    notifications = Outlet(topics.notifications, codec.encode_notification)
    stage = _stateless(house, "escalation", topics.decisions, codec.decode_decisions)
    telemetry = app.telemetry(stage.pipeline, stage.name)

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def escalate(batches: StreamT[Batch[Decision, State]]) -> None:
        async for batch in batches:
            async with batch as out:
                cases = agent.escalate(batch.items, batch.context)
                for case in cases:
                    out.send(escalations, case)
                for urgent in notifier.notify(cases, batch.context):
                    out.send(notifications, urgent)
                out.after_commit(partial(telemetry.escalated, len(cases)))
                out.after_commit(partial(telemetry.finished, {"done": len(batch.items)}))


def notification(app: LaneApp, house: House) -> None:
    """Deliver notifications to every sink; a retry carries the same id."""
    stage = _stateless(
        house, "notification", house.topics.notifications, codec.decode_notifications
    )
    telemetry = app.telemetry(stage.pipeline, stage.name)
    delivery = Delivery(house.sinks, telemetry)

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def notify(batches: StreamT[Batch[Notification, State]]) -> None:
        async for batch in batches:
            async with batch as out:
                await delivery.deliver(batch.items)
                out.after_commit(partial(telemetry.finished, {"done": len(batch.items)}))


#: The route of an event, in order.
ROUTE: Final[tuple[Callable[[LaneApp, House], None], ...]] = (
    ingestion,
    scoring,
    escalation,
    notification,
)


def _door(
    house: House, telemetry: StageTelemetry
) -> Callable[[Sequence[Record], int], codec.Decoded[BaseModel]]:
    door = codec.EventCodec(house.shipped.pipeline.source, house.shipped.data)

    def decode(records: Sequence[Record], now_ms: int) -> codec.Decoded[BaseModel]:
        decoded = door.decode(records, now_ms)
        telemetry.unknown_fields(decoded.unknown_fields)
        return decoded

    return decode


def _conductor(house: House, telemetry: StageTelemetry) -> Conductor:
    shipped = house.shipped
    return Conductor(
        shipped.pipeline,
        MeteredModel(house.model, telemetry),
        shipped.reasons,
        replace(shipped.deciding, isolation=Threads(telemetry.part_broke)),
    )


def _stateless(
    house: House, name: str, topic: str, decode: Callable[[Sequence[Record], int], Intake[ItemT]]
) -> Stage[ItemT, NoState]:
    return Stage(
        pipeline=house.shipped.pipeline.name,
        name=name,
        group=house.topics.group(name),
        inputs=(topic, house.topics.redrive(name)),
        decode=decode,
        open_state=NoState,
        changelog=None,
        deadletters=house.topics.deadletters,
    )


def _positions(records: Sequence[Record], topic: str) -> frozenset[int]:
    """Return the indexes of the records that came from `topic`."""
    return frozenset(n for n, record in enumerate(records) if record.topic == topic)


def _count_ingested(telemetry: StageTelemetry, result: Ingest) -> None:
    telemetry.duplicates(result.duplicates)
    telemetry.rekeyed(len(result.misplaced))
    telemetry.late(len(result.late) + result.late_accepted)
    telemetry.finished(
        {
            "done": len(result.accepted),
            "duplicate": result.duplicates,
            "rekeyed": len(result.misplaced),
            "late": len(result.late),
        }
    )


def _count_decided(telemetry: StageTelemetry, decided: Sequence[Decision]) -> None:
    telemetry.decided(Counter(decision.outcome for decision in decided))
    telemetry.finished({"done": len(decided)})
    published = np.fromiter((d.published_ms for d in decided), np.int64, len(decided))
    telemetry.ages(clock_ms() - published)
