"""The stages: the route of an event, in order, as Faust agents.

    .events ── ingestion ── .ingested ── scoring ── .decisions ── escalation ── .escalations
                  │                      ▲  ├────── .actions        ▲      └─── .reviewed
                .index               .outcomes └──── .notifications │── notification ── sinks
                  └──────────────────┐   │                      .verdicts
    .feedback ── rekeying ── .labels ── learning

A step that asks a person: scoring ── .escalations ── escalation ── .answers ── scoring.

Each agent is a thin loop around a pure one of `batuta.agents`; `ROUTE` is the order, and the whole
of it. Each stage also reads `<group>.redrive`, where the dead letters it wrote come back to it and
to nobody else. What a batch counts is counted after its commit, so that a figure is never ahead of
Kafka.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from faust.types import StreamT
from pydantic import BaseModel

from batuta.agents.budgeting import Budgeting, BudgetingState
from batuta.agents.budgets.wallet import Scored, lease
from batuta.agents.conductor_state import ConductorState
from batuta.agents.escalation import Escalation
from batuta.agents.indexing import index_of
from batuta.agents.ingestion import Ingestion, IngestionState
from batuta.agents.learning import Learning, LearningState
from batuta.agents.policy.actions import actions_of
from batuta.agents.rekeying import labels_of
from batuta.agents.reviewing import EscalationState
from batuta.agents.state.port import State
from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.event import Event
from batuta.schemas.labels import EventIndex, Label
from batuta.schemas.lease import LeaseRequest, LimitChange
from batuta.schemas.notification import Notification
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Record
from batuta.schemas.review import Case, Verdict
from batuta.streams.app import LaneApp
from batuta.streams.conductors import Conductors
from batuta.streams.delivery import Delivery
from batuta.streams.house import House, door_of, notifier_of, stateless
from batuta.streams.lanes.batch import Batch, Outlet
from batuta.streams.lanes.stage import NoState, Stage
from batuta.streams.stage_counts import (
    count_answers,
    count_budgets,
    count_costs,
    count_decided,
    count_escalated,
    count_ingested,
    count_labels,
    count_learnt,
    count_proposals,
    open_leases,
)
from batuta.streams.stage_times import ingestion_time, lanes_of_ingestion, replayed, scoring_time
from batuta.streams.telemetry.review_facts import QueuesKnown

__all__ = ["ROUTE"]

#: What escalation reads.
Escalating = Decision | Case | Verdict


def ingestion(app: LaneApp, house: House) -> None:
    """Validate, put in place, drop duplicates, add the features of the source's key."""
    topics, pipeline = house.topics, house.shipped.pipeline
    agent = Ingestion(pipeline)
    telemetry = app.telemetry(pipeline.name, "ingestion")
    ingested = Outlet(topics.ingested, codec.encode_ingested, codec.encode_ingested_all)
    lanes = app.partitions(topics.index)
    stage = Stage(
        pipeline=pipeline.name,
        name="ingestion",
        group=topics.group("ingestion"),
        inputs=(topics.events, topics.rekeyed, topics.redrive("ingestion")),
        decode=door_of(house, telemetry),
        open_state=agent.open_state,
        changelog=topics.state("ingestion"),
        deadletters=topics.deadletters,
        event_time=ingestion_time(house),
    )
    tells_index = pipeline.labels is not None

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def ingest(batches: StreamT[Batch[Event[BaseModel], IngestionState]]) -> None:
        async for batch in batches:
            async with batch as out:
                at_home = _positions(batch.records, topics.rekeyed)
                result = agent.ingest(batch.items, batch.context, at_home)
                out.send_all(ingested, result.accepted)
                for part in index_of(result.accepted, lanes) if tells_index else ():
                    out.forward(codec.encode_index(part.events, topics.index, part.partition))
                for astray in result.misplaced:
                    record = batch.records[astray.position]
                    out.forward(codec.rekeyed(record, topics.rekeyed, astray.key))
                for late in result.late if pipeline.source.lateness.rule == "aside" else ():
                    out.forward(codec.put_aside(batch.records[late.position], topics.late))
                out.refuse(result.refused)
                out.after_commit(partial(count_ingested, telemetry, result))


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
        event_time=replayed(house, {topics.feedback: 1}, topics.labels),
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
    heard = {
        topics.labels: app.partitions(topics.feedback),
        topics.index: lanes_of_ingestion(app, topics),
    }
    stage = Stage(
        pipeline=house.shipped.pipeline.name,
        name="learning",
        group=topics.group("learning"),
        inputs=(topics.labels, topics.index, topics.redrive("learning")),
        decode=codec.decode_learning,
        open_state=agent.open_state,
        changelog=topics.state("learning"),
        deadletters=topics.deadletters,
        event_time=replayed(house, heard, topics.outcomes),
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def learn(batches: StreamT[Batch[Label | EventIndex, LearningState]]) -> None:
        async for batch in batches:
            async with batch as out:
                learnt = agent.learn(batch.items, batch.context)
                out.send_all(outcomes, learnt.outcomes)
                out.send_all(unmatched, learnt.unmatched)
                out.after_commit(partial(count_learnt, telemetry, learnt, len(batch.items)))


def scoring(app: LaneApp, house: House) -> None:
    """Understand, select, delegate, verify and decide; one decision per event."""
    topics, shipped = house.topics, house.shipped
    telemetry = app.telemetry(shipped.pipeline.name, "scoring")
    conductors = Conductors(house, telemetry)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="scoring",
        group=topics.group("scoring"),
        # Of a label and an event of the same time the label comes first: it was known by then.
        inputs=(
            *((topics.outcomes,) if shipped.pipeline.shares else ()),
            *((topics.grants,) if shipped.plan.budgets else ()),
            topics.ingested,
            *((topics.answers,) if shipped.plan.delegating.people else ()),
            topics.redrive("scoring"),
        ),
        decode=codec.decode_scoring,
        open_state=conductors.now.open_state,
        changelog=topics.state("scoring"),
        deadletters=topics.deadletters,
        event_time=scoring_time(app, house),
        parked_max=shipped.pipeline.parking.steps_max,
        parks=(topics.ingested, topics.redrive("scoring")),
    )
    notifier = notifier_of(house, telemetry)
    actions = Outlet(topics.actions, codec.encode_action)
    decisions = Outlet(topics.decisions, codec.encode_decision, codec.encode_decisions)
    notifications = Outlet(topics.notifications, codec.encode_notification)
    cases = Outlet(topics.escalations, codec.encode_step_case)
    leases = Outlet(topics.leases, codec.encode_lease_request)
    bills = shipped.plan.delegating.bills

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def score(batches: StreamT[Batch[Scored, ConductorState]]) -> None:
        async for batch in batches:
            async with batch as out:
                leased = lease(batch.items, batch.context)
                conductor = await conductors.under(batch.context.state.control.offset)
                question = conductor.understand(leased.items, batch.context)
                answer = await out.ask(question, conductor.ask(question))
                concluded = conductor.conclude(question, answer, batch.context, batch.news)
                for follow_up in concluded.follow_ups:
                    out.ask_later(follow_up, partial(conductor.ask, follow_up))
                decided = concluded.decisions
                out.send_all(decisions, decided)
                out.send_all(actions, actions_of(decided))
                out.send_all(notifications, notifier.notify(decided, batch.context))
                out.send_all(cases, concluded.cases)
                out.after_commit(partial(count_decided, telemetry, decided))
                out.after_commit(partial(count_answers, telemetry, concluded))
                for request in leased.requests:
                    out.send(leases, request)
                if bills:
                    out.after_commit(partial(count_costs, telemetry, decided))
                if shipped.plan.delegating.planner is not None:
                    out.after_commit(partial(count_proposals, telemetry, decided))
                out.after_commit(partial(open_leases, telemetry, batch.context.state, leased))
                out.after_commit(partial(count_labels, telemetry, leased.items, question.expired))


def budgeting(app: LaneApp, house: House) -> None:
    """Own the budgets; none where the pipeline has none."""
    topics, shipped = house.topics, house.shipped
    if not shipped.plan.budgets:
        return
    agent = Budgeting(shipped.pipeline.name, shipped.plan.budgets)
    telemetry = app.telemetry(shipped.pipeline.name, "budgeting")
    grants = Outlet(topics.grants, codec.encode_lease_grant)
    notifications = Outlet(topics.notifications, codec.encode_notification)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="budgeting",
        group=topics.group("budgeting"),
        inputs=(topics.leases, topics.redrive("budgeting")),
        decode=codec.decode_budgeting,
        open_state=agent.open_state,
        changelog=topics.state("budgeting"),
        deadletters=topics.deadletters,
    )

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def budget(batches: StreamT[Batch[LeaseRequest | LimitChange, BudgetingState]]) -> None:
        async for batch in batches:
            async with batch as out:
                budgeted = agent.budget(batch.items, batch.context)
                for grant in budgeted.grants:
                    out.send(grants, grant)
                for notification in budgeted.notifications:
                    out.send(notifications, notification)
                out.after_commit(partial(count_budgets, telemetry, budgeted, len(batch.items)))


def escalation(app: LaneApp, house: House) -> None:
    """Open a case for each decision to review; close cases by verdicts, or by time."""
    topics, shipped = house.topics, house.shipped
    agent = Escalation(shipped.pipeline)
    escalations = Outlet(topics.escalations, codec.encode_case)
    notifications = Outlet(topics.notifications, codec.encode_notification)
    reviewed = Outlet(topics.reviewed, codec.encode_reviewed)
    verdicts = Outlet(topics.verdicts, codec.encode_verdict)
    stage = Stage(
        pipeline=shipped.pipeline.name,
        name="escalation",
        group=topics.group("escalation"),
        # It remembers cases by their ids, and so reads its own and those of scoring by these.
        inputs=(
            topics.decisions,
            topics.escalations,
            topics.verdicts,
            topics.redrive("escalation"),
        ),
        decode=codec.decode_escalation,
        open_state=agent.open_state,
        changelog=topics.state("escalation"),
        deadletters=topics.deadletters,
    )
    telemetry = app.telemetry(stage.pipeline, stage.name)
    people = shipped.plan.delegating.people.values()
    telemetry.tell(QueuesKnown((shipped.pipeline.escalation.queue, *(p.queue for p in people))))
    notifier = notifier_of(house, telemetry)

    @app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
    async def escalate(batches: StreamT[Batch[Escalating, EscalationState]]) -> None:
        async for batch in batches:
            async with batch as out:
                escalated = agent.escalate(batch.items, batch.firings, batch.context)
                out.send_all(escalations, escalated.cases)
                out.send_all(notifications, notifier.notify(escalated.cases, batch.context))
                for answer, lane in escalated.answers:
                    out.forward(codec.encode_step_answer(answer, topics.answers, lane))
                out.send_all(reviewed, escalated.reviewed)
                out.send_all(verdicts, escalated.misplaced)
                out.after_commit(partial(count_escalated, telemetry, escalated, len(batch.items)))


def notification(app: LaneApp, house: House) -> None:
    """Deliver notifications to every sink; a retry carries the same id."""
    stage = stateless(house, "notification", house.topics.notifications, codec.decode_notifications)
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
    budgeting,
    escalation,
    notification,
)


def _positions(records: Sequence[Record], topic: str) -> frozenset[int]:
    """Return the indexes of the records that came from `topic`."""
    return frozenset(n for n, record in enumerate(records) if record.topic == topic)
