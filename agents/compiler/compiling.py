"""From a pipeline file to its plan: what every stage runs by, checked as a whole."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from batuta.agents.budgets.rule import BudgetRule
from batuta.agents.compiler.budgets import budgeted
from batuta.agents.compiler.deciding import (
    inputs_of,
    notify_names,
    notify_rules,
    rules_of,
)
from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.payload import PayloadField, fields_of
from batuta.agents.compiler.placement import Placed, place, scoring_key_of
from batuta.agents.compiler.planner import with_planner
from batuta.agents.compiler.planning import asked_of, candidates_of, delegating_of, plans_of
from batuta.agents.compiler.sources import labels_of, source_of, zone_of
from batuta.agents.compiler.understood import Feature, Understand, understood
from batuta.agents.compiler.verifying import CheckParts, Verifying
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.models.port import CRITIQUE
from batuta.agents.policy.names import Names
from batuta.agents.understanding.features import ContextFeatures, KeyedFeatures
from batuta.agents.understanding.steps import Understanding
from batuta.schemas.pipeline import Escalation, Parking, Pipeline, Source
from batuta.schemas.pipeline_file.person import PERSON
from batuta.schemas.pipeline_file.problems import Path
from batuta.schemas.pipeline_file.reading import Document
from batuta.schemas.pipeline_rules import ContextFeature, LabelRule, NotifyRule, Rule

__all__ = ["Parts", "Plan", "compile_pipeline"]


@dataclass(frozen=True)
class Parts:
    """What a file's references led to.

    Attributes:
        data: the model of the payload.
        label: the model of a label, where there are labels.
        features: the user's own, by the name of their entry; those that remember have a key there.
        checks: the user's own, and the schemas that checks name, by where they stand.
    """

    data: type[BaseModel]
    label: type[BaseModel] | None = None
    features: Mapping[str, ContextFeatures | KeyedFeatures] = field(
        default_factory=dict[str, ContextFeatures | KeyedFeatures]
    )
    checks: CheckParts = field(default_factory=dict[Path, object])


@dataclass(frozen=True)
class Plan:
    """A compiled pipeline.

    Attributes:
        pipeline: what the stages run by.
        understanding: computes the features beyond windows.
        names: what decide rules see.
        told: what notify rules see.
        features: all of them, placed, in order.
        model: the first that is asked, by the plan to fall back on where it asks any.
        inputs: what each model sees, by model.
        delegating: the plans, and who chooses among them.
        budgets: what asking models may cost.
    """

    pipeline: Pipeline
    understanding: Understanding
    names: Names
    told: Names
    features: tuple[Feature, ...]
    model: str
    inputs: Mapping[str, tuple[str, ...]]
    delegating: Delegating
    budgets: tuple[BudgetRule, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """The models that any plan asks, each once; people are none."""
        return asked_of(self.delegating)


def compile_pipeline(document: Document, parts: Parts) -> Plan:
    """Compile a pipeline file.

    Args:
        document: as read.
        parts: what its references led to.

    Raises:
        PipelineFileError: everything that is wrong with it.
    """
    file, faults = document.file, Faults(document)
    fields = fields_of(parts.data)
    source, zone = source_of(file, fields, faults), zone_of(file.source, faults)
    labels = _labels(document, parts, faults)
    # Without keys and zone nothing further can be judged.
    faults.settle()
    assert source is not None
    assert zone is not None
    scoring_key = scoring_key_of(file, fields, faults)
    placed = place(file, fields, faults, scoring_key)
    faults.settle()
    so_far = Understand(fields, zone)
    understood(file, so_far, placed, parts.features, faults)
    faults.settle()
    inputs = {
        name: ()
        if one.adapter == PERSON
        else inputs_of(name, file.models.keys() - {name}, one, so_far, faults)
        for name, one in file.models.items()
    }
    verifying = Verifying(document, so_far, parts.checks, faults)
    plans, candidates = plans_of(file, faults, verifying), candidates_of(file, faults)
    faults.settle()
    delegating = delegating_of(file, plans, candidates, so_far, verifying)
    faults.settle()
    verifying.note_useless()
    faults.settle()
    budgets, delegating = budgeted(file, delegating, faults)
    delegating = with_planner(file, plans, delegating, verifying)
    rules = rules_of(file, so_far, faults)
    model = asked_of(delegating)[0]
    seen = (name for one in asked_of(delegating) for name in inputs[one])
    told = notify_names(so_far, _features_among(seen))
    notices = notify_rules(file, told, faults)
    faults.settle()
    compiled = _Compiled(source, labels, scoring_key, tuple(placed))
    pipeline = compiled.pipeline(document, rules, notices)
    return Plan(
        pipeline=pipeline,
        understanding=_understanding(so_far, source, inputs),
        names=so_far.names({"score": "double"}),
        told=told,
        features=tuple(so_far.features.values()),
        model=model,
        inputs=inputs,
        delegating=delegating,
        budgets=budgets,
    )


def _features_among(seen: Iterable[str]) -> dict[str, None]:
    """Return what models see that is neither the event, nor an answer, nor a critique."""
    return dict.fromkeys(n for n in seen if "." not in n and n not in {"event", CRITIQUE})


def _labels(document: Document, parts: Parts, faults: Faults) -> LabelRule | None:
    entry = document.file.labels
    if entry is None:
        return None
    assert parts.label is not None, "labels without their schema"
    return labels_of(entry, fields_of(parts.label), faults)


@dataclass(frozen=True)
class _Compiled:
    source: Source
    labels: LabelRule | None
    scoring_key: str
    placed: tuple[Placed, ...]

    def pipeline(
        self, document: Document, rules: tuple[Rule, ...], notices: tuple[NotifyRule, ...]
    ) -> Pipeline:
        file = document.file
        context = [pair for step in file.understand for pair in (step.context or {}).items()]
        windows = {
            stage: tuple(w for one in self.placed if one.stage == stage for w in one.windows)
            for stage in ("ingestion", "scoring")
        }
        return Pipeline(
            name=file.pipeline,
            version=file.version,
            source=self.source,
            scoring_key_field=self.scoring_key,
            ingestion_windows=windows["ingestion"],
            scoring_windows=windows["scoring"],
            decide=rules,
            notify=notices,
            escalation=Escalation(queue=file.escalate.queue, due_ms=file.escalate.due),
            parking=Parking(deadline_ms=file.deadline),
            context=tuple(ContextFeature(name=n, expression=text) for n, text in context),
            shares=tuple(one.share for one in self.placed if one.share is not None),
            labels=self.labels,
        )


def _understanding(
    so_far: Understand, source: Source, inputs: Mapping[str, tuple[str, ...]]
) -> Understanding:
    plain: dict[str, PayloadField] = {n: f for n, f in so_far.fields.items() if f.kind is not None}
    seen = dict.fromkeys(name for names in inputs.values() for name in names if name in plain)
    return Understanding(
        fields={name: declared.kind for name, declared in plain.items() if declared.kind},
        time_field=source.time_field,
        steps=tuple(so_far.steps),
        inputs=tuple(seen),
    )
