"""The stages: the route of an event, in order, as Faust agents.

    .events ── ingestion ── .ingested ── scoring ── .decisions ── escalation ── .escalations
                  │                      ▲  ├────── .actions
                .index               .outcomes └──── .notifications ── notification ── sinks
                  └──────────────────┐   │
    .feedback ── rekeying ── .labels ── learning

Each agent is a thin loop around a pure one of `batuta.agents`; `ROUTE` is the order, and the whole
of it. Each stage also reads `<group>.redrive`, where the dead letters it wrote come back to it and
to nobody else. What a batch counts is counted after its commit, so that a figure is never ahead of
Kafka.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
from faust.types import StreamT
from pydantic import BaseModel

from batuta.agents.conductor import Conductor, ConductorState
from batuta.agents.escalation import Escalation
from batuta.agents.indexing import index_of
from batuta.agents.ingestion import Ingest, Ingestion, IngestionState
from batuta.agents.learning import Learning, LearningState, Learnt
from batuta.agents.models.port import AnyModel
from batuta.agents.notification import Notifier
from batuta.agents.pipelines import LoadedPipeline
from batuta.agents.policy.actions import actions_of
from batuta.agents.rekeying import labels_of
from batuta.agents.state.port import State
from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.event import Event
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import EventIndex, Label, LabelOutcome, known_at_ms
from batuta.schemas.notification import Notification
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Record
from batuta.schemas.topics import Topics
from batuta.streams.adapters.isolation import Threads
from batuta.streams.app import LaneApp, clock_ms
from batuta.streams.at_once import AtOnce
from batuta.streams.delivery import Delivery
from batuta.streams.lanes.batch import Batch, Outlet
from batuta.streams.lanes.stage import EventTime, Intake, NoState, Stage
from batuta.streams.metered_model import metered
from batuta.streams.sinks.port import Sink
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["ROUTE", "House"]

ItemT = TypeVar("ItemT")
#: In a replay nobody is left out: whoever publishes says when it ends.
_NEVER_IDLE_MS: Final = 366 * 86_400_000


@dataclass(frozen=True)
class House:
    """What the stages of one pipeline are built from.

    Attributes:
        models: what its plans ask, by name; or the one that answers whatever they say.
        aligned: whether scoring takes events and outcomes in the order of their time, as in a
            replay; live it takes them as they come.
    """

    shipped: LoadedPipeline
    models: AnyModel | Mapping[str, AnyModel]
    sinks: Sequence[Sink]
    aligned: bool = False

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
    lanes = app.partitions(topics.index)
    stage = Stage(
        pipeline=pipeline.name,
        name="ingestion",
        group=topics.group("ingestion"),
        inputs=(topics.events, topics.rekeyed, topics.redrive("ingestion")),
        decode=_door(house, telemetry),
        open_state=agent.open_state,
        changelog=topics.state("ingestion"),
        deadletters=topics.deadletters,
        event_time=_ingestion_time(house),
    )
    tells_index = pipeline.labels is not None

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def ingest(batches: StreamT[Batch[Event[BaseModel], IngestionState]]) -> None:
        async for batch in batches:
            async with batch as out:
                at_home = _positions(batch.records, topics.rekeyed)
                result = agent.ingest(batch.items, batch.context, at_home)
                for event in result.accepted:
                    out.send(ingested, event)
                for part in index_of(result.accepted, lanes) if tells_index else ():
                    out.forward(codec.encode_index(part.events, topics.index, part.partition))
                for astray in result.misplaced:
                    record = batch.records[astray.position]
                    out.forward(codec.rekeyed(record, topics.rekeyed, astray.key))
                for late in result.late if pipeline.source.lateness.rule == "aside" else ():
                    out.forward(codec.put_aside(batch.records[late.position], topics.late))
                out.refuse(result.refused)
                out.after_commit(partial(_count_ingested, telemetry, result))


def rekeying(app: LaneApp, house: House) -> None:
    """Put feedback in order by the events it speaks of; none where the pipeline has no labels."""
    topics, shipped = house.topics, house.shipped
    rule = shipped.pipeline.labels
    if rule is None or shipped.label is None:
        return
    telemetry = app.telemetry(shipped.pipeline.name, "rekeying")
    labels = Outlet(topics.labels, codec.encode_label)
    door = codec.EventCodec(Source.of_labels(rule), shipped.label)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="rekeying",
        group=topics.group("rekeying"),
        inputs=(topics.feedback, topics.redrive("rekeying")),
        decode=door.decode,
        open_state=NoState,
        changelog=topics.state("rekeying"),
        deadletters=topics.deadletters,
        event_time=_replayed(house, {topics.feedback: 1}, topics.labels),
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def rekey(batches: StreamT[Batch[Event[BaseModel], NoState]]) -> None:
        async for batch in batches:
            async with batch as out:
                for label in labels_of(batch.items, rule.of):
                    out.send(labels, label)
                out.after_commit(partial(telemetry.finished, {"done": len(batch.items)}))


def learning(app: LaneApp, house: House) -> None:
    """Join labels with their events; none where the pipeline has no labels."""
    topics, rule = house.topics, house.shipped.pipeline.labels
    if rule is None:
        return
    agent = Learning(rule.expire_ms)
    telemetry = app.telemetry(house.shipped.pipeline.name, "learning")
    outcomes = Outlet(topics.outcomes, codec.encode_outcome)
    unmatched = Outlet(topics.unmatched, codec.encode_label)
    heard = {topics.labels: app.partitions(topics.feedback), topics.index: _lanes(app, topics)}
    stage = Stage(
        pipeline=house.shipped.pipeline.name,
        name="learning",
        group=topics.group("learning"),
        inputs=(topics.labels, topics.index, topics.redrive("learning")),
        decode=codec.decode_learning,
        open_state=agent.open_state,
        changelog=topics.state("learning"),
        deadletters=topics.deadletters,
        event_time=_replayed(house, heard, topics.outcomes),
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def learn(batches: StreamT[Batch[Label | EventIndex, LearningState]]) -> None:
        async for batch in batches:
            async with batch as out:
                learnt = agent.learn(batch.items, batch.context)
                for outcome in learnt.outcomes:
                    out.send(outcomes, outcome)
                for label in learnt.unmatched:
                    out.send(unmatched, label)
                out.after_commit(partial(_count_learnt, telemetry, learnt, len(batch.items)))


def scoring(app: LaneApp, house: House) -> None:
    """Understand, select, delegate, verify and decide; one decision per event."""
    topics, shipped = house.topics, house.shipped
    telemetry = app.telemetry(shipped.pipeline.name, "scoring")
    conductor = _conductor(house, telemetry)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="scoring",
        group=topics.group("scoring"),
        # Of a label and an event of the same time the label comes first: it was known by then.
        inputs=(
            *((topics.outcomes,) if shipped.pipeline.shares else ()),
            topics.ingested,
            topics.redrive("scoring"),
        ),
        decode=codec.decode_scoring,
        open_state=conductor.open_state,
        changelog=topics.state("scoring"),
        deadletters=topics.deadletters,
        event_time=_scoring_time(app, house),
        parked_max=shipped.pipeline.parking.steps_max,
    )
    notifier = Notifier(shipped.pipeline, shipped.reasons, shipped.plan.told)
    actions = Outlet(topics.actions, codec.encode_action)
    decisions = Outlet(topics.decisions, codec.encode_decision)
    notifications = Outlet(topics.notifications, codec.encode_notification)

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def score(batches: StreamT[Batch[Ingested | LabelOutcome, ConductorState]]) -> None:
        async for batch in batches:
            async with batch as out:
                question = conductor.understand(batch.items, batch.context)
                answer = await out.ask(question, conductor.ask(question))
                concluded = conductor.conclude(question, answer, batch.context, batch.news)
                for follow_up in concluded.follow_ups:
                    out.ask_later(follow_up, partial(conductor.ask, follow_up))
                decided = concluded.decisions
                for decision in decided:
                    out.send(decisions, decision)
                for action in actions_of(decided):
                    out.send(actions, action)
                for notification in notifier.notify(decided, batch.context):
                    out.send(notifications, notification)
                out.after_commit(partial(_count_decided, telemetry, decided))
                out.after_commit(partial(_count_labels, telemetry, batch.items, question.expired))


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
    delivery = Delivery(house.sinks, telemetry := app.telemetry(stage.pipeline, stage.name))

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def notify(batches: StreamT[Batch[Notification, State]]) -> None:
        async for batch in batches:
            async with batch as out:
                await delivery.deliver(batch.items)
                out.after_commit(partial(telemetry.finished, {"done": len(batch.items)}))


#: The route of an event, in order.
ROUTE: Final[tuple[Callable[[LaneApp, House], None], ...]] = (
    ingestion,
    rekeying,
    learning,
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
    models = metered(house.models, telemetry)
    conductor = Conductor(
        shipped.pipeline,
        models,
        shipped.reasons,
        replace(shipped.deciding, isolation=Threads(telemetry.part_broke)),
    )
    conductor.driver = AtOnce(models if isinstance(models, Mapping) else {models.name: models})
    return conductor


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


def _lanes(app: LaneApp, topics: Topics) -> int:
    """Return how many lanes of ingestion there are."""
    return app.partitions(topics.events)


def _ingestion_time(house: House) -> EventTime:
    """Return who tells ingestion of event time, and whom it tells."""
    topics, pipeline = house.topics, house.shipped.pipeline
    if not house.aligned:
        return EventTime(pipeline.source.lateness.idle_ms, tells=(topics.ingested,))
    below = (topics.ingested, topics.index) if pipeline.labels else (topics.ingested,)
    return EventTime(_NEVER_IDLE_MS, {topics.events: 1}, below)


def _replayed(house: House, hears: Mapping[str, int], tells: str) -> EventTime | None:
    """Return how a stage on the way of labels keeps time in a replay; live nobody waits for it."""
    return EventTime(_NEVER_IDLE_MS, hears, (tells,)) if house.aligned else None


def _scoring_time(app: LaneApp, house: House) -> EventTime:
    """Return who tells scoring of event time, and whether its inputs are aligned by it."""
    topics, pipeline = house.topics, house.shipped.pipeline
    lanes = _lanes(app, topics)
    if not house.aligned:
        return EventTime(pipeline.source.lateness.idle_ms, hears={topics.ingested: lanes})
    labels = {topics.outcomes: app.partitions(topics.labels)} if pipeline.shares else {}
    heard = {**labels, topics.ingested: lanes}
    return EventTime(
        _NEVER_IDLE_MS, heard, time_of=known_at_ms, id_of=lambda item: str(item.event_id)
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


def _count_learnt(telemetry: StageTelemetry, learnt: Learnt, items: int) -> None:
    telemetry.labels(
        {
            "matched": len(learnt.outcomes),
            "waiting": learnt.waiting,
            "repeated": learnt.repeated,
            "outdated": learnt.outdated,
            "unmatched": len(learnt.unmatched),
        }
    )
    telemetry.finished({"done": items})


def _count_labels(
    telemetry: StageTelemetry, items: Sequence[Ingested | LabelOutcome], expired: int
) -> None:
    outcomes = sum(not isinstance(item, Ingested) for item in items)
    if outcomes:
        telemetry.labels({"counted": outcomes - expired, "expired": expired})
        telemetry.finished({"done": outcomes})


def _count_decided(telemetry: StageTelemetry, decided: Sequence[Decision]) -> None:
    telemetry.decided(Counter(decision.outcome for decision in decided))
    telemetry.finished({"done": len(decided)})
    published = np.fromiter((d.published_ms for d in decided), np.int64, len(decided))
    telemetry.ages(clock_ms() - published)
