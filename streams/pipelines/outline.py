"""What becomes of a pipeline file: topics, keys, stages, features, models, rules, imports."""

from dataclasses import asdict, dataclass

from batuta.agents.budgets.rule import budget_text
from batuta.agents.compiler.compiling import Plan
from batuta.agents.delegation.plans import people_of, text_of
from batuta.agents.selection.planner import Planner
from batuta.schemas.pipeline_file.quantities import duration_text
from batuta.schemas.topics import Topics
from batuta.streams.pipelines.loading import PipelineOnDisk

__all__ = ["StageOutline", "TopicOutline", "outline_of", "stages_of", "topics_of"]


@dataclass(frozen=True, slots=True)
class TopicOutline:
    """One topic and what its records are keyed by."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class StageOutline:
    """One stage: what it reads, writes, remembers and does.

    Attributes:
        key: whose state it holds, empty where it holds none.
        does: a few lines for people.
    """

    name: str
    group: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    key: str
    state: str
    does: tuple[str, ...]


def topics_of(plan: Plan) -> list[TopicOutline]:
    """Return the topics on the route of an event, in order."""
    pipeline, topics = plan.pipeline, Topics(plan.pipeline.name)
    source_key = pipeline.source.key_field
    return [
        TopicOutline(topics.events, source_key),
        TopicOutline(topics.rekeyed, source_key),
        TopicOutline(topics.late, source_key),
        TopicOutline(topics.ingested, pipeline.scoring_key_field),
        *_label_topics(plan, topics),
        *_budget_topics(plan, topics),
        TopicOutline(topics.decisions, source_key),
        TopicOutline(topics.actions, "action id"),
        TopicOutline(topics.escalations, "case id"),
        TopicOutline(topics.verdicts, "case id"),
        TopicOutline(topics.reviewed, "case id"),
        *((TopicOutline(topics.answers, "the step that waits"),) if _people(plan) else ()),
        TopicOutline(topics.notifications, "pipeline"),
        TopicOutline(topics.deadletters, "as its source"),
    ]


def stages_of(on_disk: PipelineOnDisk) -> list[StageOutline]:
    """Return the stages in the order of the route."""
    plan = on_disk.loaded.plan
    pipeline, topics = plan.pipeline, Topics(plan.pipeline.name)

    def stage(
        name: str, reads: tuple[str, ...], writes: tuple[str, ...], does: tuple[str, ...]
    ) -> StageOutline:
        keys = {
            "ingestion": pipeline.source.key_field,
            "scoring": pipeline.scoring_key_field,
            "escalation": "case id",
        }
        return StageOutline(
            name=name,
            group=topics.group(name),
            reads=(*reads, topics.redrive(name)),
            writes=(*writes, topics.deadletters),
            key=keys.get(name, ""),
            state=topics.state(name) if name in keys else "",
            does=does,
        )

    duplicates = f"drops duplicates within {duration_text(pipeline.source.duplicates.within_ms)}"
    escalation = pipeline.escalation
    sinks = ", ".join(("log", "webhook where set", *on_disk.sinks))
    answers = (topics.answers,) if _people(plan) else ()
    queue = f"queue {escalation.queue}, due in {duration_text(escalation.due_ms)}"
    return [
        stage(
            "ingestion",
            (topics.events, topics.rekeyed),
            (
                topics.ingested,
                *((topics.index,) if pipeline.labels else ()),
                topics.rekeyed,
                topics.late,
            ),
            (duplicates, *_features(plan, "ingestion")),
        ),
        *_label_stages(plan, topics),
        stage(
            "scoring",
            _read_by_scoring(plan, topics),
            _written_by_scoring(plan, topics),
            (*_features(plan, "scoring"), *_plans(plan), *_rules(plan)),
        ),
        *_budget_stages(plan, topics),
        stage(
            "escalation",
            (topics.decisions, topics.escalations, topics.verdicts),
            (topics.escalations, topics.reviewed, topics.notifications, *answers),
            (queue, *_people(plan)),
        ),
        stage("notification", (topics.notifications,), (), (f"sinks: {sinks}",)),
    ]


def _read_by_scoring(plan: Plan, topics: Topics) -> tuple[str, ...]:
    return (
        *((topics.outcomes,) if plan.pipeline.shares else ()),
        *((topics.grants,) if plan.budgets else ()),
        topics.ingested,
        *((topics.answers,) if _people(plan) else ()),
    )


def _written_by_scoring(plan: Plan, topics: Topics) -> tuple[str, ...]:
    return (
        topics.decisions,
        topics.actions,
        topics.notifications,
        *((topics.escalations,) if _people(plan) else ()),
        *((topics.leases,) if plan.budgets else ()),
    )


def _label_topics(plan: Plan, topics: Topics) -> list[TopicOutline]:
    """Return the topics on the way of labels."""
    if plan.pipeline.labels is None:
        return []
    return [
        TopicOutline(topics.index, "event id"),
        TopicOutline(topics.feedback, "any"),
        TopicOutline(topics.labels, "event id"),
        TopicOutline(topics.outcomes, plan.pipeline.scoring_key_field),
        TopicOutline(topics.unmatched, "event id"),
    ]


def _label_stages(plan: Plan, topics: Topics) -> list[StageOutline]:
    """Return the stages on the way of labels."""
    rule = plan.pipeline.labels
    if rule is None:
        return []
    kept = f"keeps labels and events for each other for {duration_text(rule.expire_ms)}"
    return [
        StageOutline(
            name="rekeying",
            group=topics.group("rekeying"),
            reads=(topics.feedback, topics.redrive("rekeying")),
            writes=(topics.labels, topics.deadletters),
            key="",
            state=topics.state("rekeying"),
            does=(f"puts labels of {rule.of} under their event's id",),
        ),
        StageOutline(
            name="learning",
            group=topics.group("learning"),
            reads=(topics.labels, topics.index, topics.redrive("learning")),
            writes=(topics.outcomes, topics.unmatched, topics.deadletters),
            key="event id",
            state=topics.state("learning"),
            does=(kept,),
        ),
    ]


def _budget_topics(plan: Plan, topics: Topics) -> list[TopicOutline]:
    """Return the topics between lanes and the owners of budgets."""
    if not plan.budgets:
        return []
    return [
        TopicOutline(topics.leases, "budget"),
        TopicOutline(topics.grants, "the asking lane's partition"),
    ]


def _budget_stages(plan: Plan, topics: Topics) -> list[StageOutline]:
    """Return the stage that owns the budgets."""
    if not plan.budgets:
        return []
    return [
        StageOutline(
            name="budgeting",
            group=topics.group("budgeting"),
            reads=(topics.leases, topics.redrive("budgeting")),
            writes=(topics.grants, topics.notifications, topics.deadletters),
            key="budget",
            state=topics.state("budgeting"),
            does=tuple(budget_text(rule) for rule in plan.budgets),
        )
    ]


def outline_of(on_disk: PipelineOnDisk) -> dict[str, object]:
    """Return the whole as one JSON object."""
    plan, file = on_disk.loaded.plan, on_disk.document.file
    pipeline = plan.pipeline
    return {
        "pipeline": pipeline.name,
        "version": pipeline.version,
        "file": on_disk.document.tree.name,
        "source": pipeline.source.model_dump(),
        "keys": {"ingestion": pipeline.source.key_field, "scoring": pipeline.scoring_key_field},
        "topics": [asdict(topic) for topic in topics_of(plan)],
        "stages": [asdict(stage) for stage in stages_of(on_disk)],
        "features": [asdict(feature) for feature in plan.features],
        "models": [
            {
                "name": name,
                "asked": name in plan.asked or name in plan.delegating.people,
                "kind": entry.kind,
                "adapter": entry.adapter,
                "inputs": list(plan.inputs[name]),
                "timeout_ms": entry.timeout,
                "file": entry.file,
                "sha256": entry.sha256,
                "queue": entry.queue,
                "capacity_per_hour": entry.capacity,
                "sla_ms": entry.sla if entry.queue else None,
            }
            for name, entry in file.models.items()
        ],
        "plans": {name: text_of(node) for name, node in plan.delegating.plans.items()},
        "understood_by": plan.delegating.understood_by,
        "planner": _planner(plan),
        "budgets": [budget_text(rule) for rule in plan.budgets],
        "decide": [rule.model_dump() for rule in pipeline.decide],
        "notify": [rule.model_dump() for rule in pipeline.notify],
        "actions": {name: entry.version for name, entry in file.actions.items()},
        "escalate": pipeline.escalation.model_dump(),
        "labels": pipeline.labels.model_dump() if pipeline.labels else None,
        "shares": [share.model_dump() for share in pipeline.shares],
        "sinks": list(on_disk.sinks),
        "imports": [asdict(part) for part in on_disk.imports],
    }


def _features(plan: Plan, stage: str) -> list[str]:
    """Return one line per entry: where its features come from, and how many they are."""
    lines: dict[str, list[str]] = {}
    for feature in plan.features:
        if feature.stage == stage:
            head = f"{feature.entry} by {feature.key}" if feature.key else feature.entry
            lines.setdefault(head, []).append(feature.name)
    return [f"{head}: {_counted(head, names)}" for head, names in lines.items()]


def _counted(head: str, names: list[str]) -> str:
    named = len(names) == 1 or " by " not in head
    return ", ".join(names) if named else f"{len(names)} features"


def _plans(plan: Plan) -> list[str]:
    """Return one line per plan: who is asked."""
    plans, planner = plan.delegating.plans, plan.delegating.planner
    allowed = () if planner is None else (_planner_text(planner),)
    if len(plans) == 1:
        return [*(f"asks {text_of(node)}" for node in plans.values()), *allowed]
    first = plan.delegating.understood_by
    understood = () if first is None else (f"asks {first} first, and chooses a plan by its answer",)
    asked = (f"plan {name}: asks {text_of(node)}" for name, node in plans.items())
    return [*understood, *asked, *allowed]


def _planner(plan: Plan) -> dict[str, object] | None:
    """Return who plans, with whom, and within what."""
    planner = plan.delegating.planner
    if planner is None:
        return None
    return {
        "model": planner.model,
        "allow": [one.model for one in planner.allowed],
        "limits": asdict(planner.limits),
    }


def _planner_text(planner: Planner) -> str:
    limits = planner.limits
    again = ", once more after a failure" if limits.replans else ""
    most = f"{limits.depth_max} deep, {limits.steps_max} steps, {limits.bytes_max} bytes"
    names = ", ".join(one.model for one in planner.allowed)
    return f"{planner.model} plans with {names}: at most {most}{again}"


def _people(plan: Plan) -> list[str]:
    """Return one line per person whom plans ask."""
    people = plan.delegating.people.values()
    asked = {name for node in plan.delegating.plans.values() for name in people_of(node)}
    return [
        f"{one.name}: queue {one.queue}, due in {duration_text(one.sla_ms)}"
        for one in people
        if one.name in asked
    ]


def _rules(plan: Plan) -> list[str]:
    return [
        f"{rule.when or 'otherwise'}: {rule.outcome}" + (f", {rule.action}" if rule.action else "")
        for rule in plan.pipeline.decide
    ]
