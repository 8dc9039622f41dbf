"""Compiles plans and select: names resolved, circles found, prices and terms taken along."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.terms import terms_of
from batuta.agents.compiler.understanding_first import (
    check_read,
    check_understander,
    rule_names,
    steered,
    understander_of,
)
from batuta.agents.compiler.understood import Understand
from batuta.agents.compiler.verifying import Verifying
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.people import Person
from batuta.agents.delegation.plans import (
    Ask,
    Cascade,
    Fallback,
    Node,
    Parallel,
    Sequence,
    answered_before,
    models_of,
    people_of,
)
from batuta.agents.policy.expressions import Expression, ExpressionError
from batuta.agents.policy.names import Names
from batuta.agents.selection.choosing import Chooser, Narrowing, Only, Weighted
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.person import PERSON
from batuta.schemas.pipeline_file.plan_entries import PlanEntry, SelectEntry
from batuta.schemas.pipeline_file.problems import Path, did_you_mean

__all__ = [
    "PLAN_DEPTH_MAX",
    "Planning",
    "asked_of",
    "candidates_of",
    "delegating_of",
    "plans_of",
    "read_too_early",
]

#: So deep may plans be nested, names of plans looked through.
PLAN_DEPTH_MAX: Final = 8
#: Adapters whose models have a file of ours.
_TRAINED: Final = ("onnx", "text")
_STOP: Final = Names({"score": "double", "confidence": "double"})


def plans_of(file: PipelineFile, faults: Faults, verifying: Verifying) -> dict[str, Node]:
    """Return every plan by name; a file with one model may leave them out."""
    models = list(file.models)
    if not file.plans:
        if len(models) > 1:
            what = f"are several models and no plan; add plans: {{only: {{ask: {models[0]}}}}}"
            faults.add(("models",), models, what, key=True)
        return {"only": Ask(models[0], person=file.models[models[0]].adapter == PERSON)}
    planning = Planning(file, faults, verifying)
    return {name: planning.named(name, ("plans", name)) for name in file.plans}


def candidates_of(file: PipelineFile, faults: Faults) -> tuple[str, ...]:
    """Return the plans that may be chosen, the one to fall back on first."""
    if file.select is None:
        if len(file.plans) > 1:
            given = list(file.plans)
            what = f"are more plans than one; add select: {{among: [{', '.join(given)}]}}"
            faults.add(("plans",), given, what, key=True)
        return tuple(file.plans) or ("only",)
    for number, name in enumerate(file.select.among):
        path: Path = ("select", "among", number)
        if name not in file.plans:
            faults.add(path, name, f"is no plan; {did_you_mean(name, list(file.plans))}")
        elif name in file.select.among[:number]:
            faults.add(path, name, "stands twice; keep one")
    return file.select.among


def delegating_of(
    file: PipelineFile,
    plans: Mapping[str, Node],
    candidates: tuple[str, ...],
    so_far: Understand,
    verifying: Verifying,
) -> Delegating:
    """Return what the conductor delegates by."""
    faults = verifying.faults
    check_understander(file, faults)
    chosen = {name: verifying.verified(steered(file, plans[name])) for name in candidates}
    _check_order(file, chosen, faults)
    for name, node in plans.items():
        _check_prices(file, name, node, faults)
    chooser: Chooser = Only(candidates[0])
    if file.select is not None and len(candidates) > 1:
        chooser = _weighted(file, file.select, so_far, faults)
    _check_trained(file, chosen, faults)
    terms = {name: terms_of(entry) for name, entry in file.models.items()}
    people = {
        name: Person(name, entry.queue or "", entry.sla)
        for name, entry in file.models.items()
        if entry.adapter == PERSON
    }
    if all(name in people for node in chosen.values() for name in models_of(node)):
        what = "are people alone; ask a model before them, or in another plan"
        faults.add(("models",), list(people), what, key=True)
    delegating = Delegating(chosen, chooser, terms, people, verifying.names, file.verify.stale)
    return replace(delegating, understood_by=understander_of(file))


def asked_of(delegating: Delegating) -> tuple[str, ...]:
    """Return the models that any plan asks, each once, in order; people are none.

    One that is asked before plans are chosen is the last.
    """
    asked = [name for node in delegating.plans.values() for name in models_of(node)]
    if delegating.understood_by is not None:
        asked.append(delegating.understood_by)
    return tuple(name for name in dict.fromkeys(asked) if name not in delegating.people)


@dataclass
class Planning:
    """Compiles plans, those of a file or one that a planner proposes."""

    file: PipelineFile
    faults: Faults
    verifying: Verifying
    found: dict[str, Node] = field(default_factory=dict[str, Node])
    open: list[str] = field(default_factory=list[str])

    def named(self, name: str, path: Path) -> Node:
        """Return the plan called so."""
        if name in self.open:
            circle = " -> ".join([*self.open[self.open.index(name) :], name])
            self.faults.add(path, name, f"leads in a circle: {circle}; break it")
            return Ask(next(iter(self.file.models)))
        if name not in self.found:
            self.open.append(name)
            self.found[name] = self.node(self.file.plans[name], ("plans", name))
            self.open.pop()
        return self.found[name]

    def node(self, entry: PlanEntry, path: Path, depth: int = 1) -> Node:
        """Return one plan, its steps compiled, behind its checkpoint where it has one."""
        node = self._unchecked(entry, path, depth)
        return self.verifying.checked(node, entry, path)

    def _unchecked(self, entry: PlanEntry, path: Path, depth: int) -> Node:
        if depth > PLAN_DEPTH_MAX:
            self.faults.add(
                path, entry.kind, f"is nested more than {PLAN_DEPTH_MAX} deep; name parts"
            )
            return Ask(next(iter(self.file.models)))
        if entry.ask is not None:
            return self._asked(entry.ask, path)
        steps = tuple(
            self.node(step, (*path, entry.kind, number), depth + 1)
            for number, step in enumerate(entry.steps)
        )
        if entry.sequence is not None:
            return Sequence(steps)
        if entry.fallback is not None:
            return Fallback(steps)
        if entry.cascade is not None:
            self._check_people(steps[:-1], (*path, "cascade"), "stand last in a cascade")
            return self._cascade(entry, steps, path)
        self._check_people(
            steps, (*path, "parallel"), "are not asked beside others; put them after"
        )
        self._check_twice(steps, (*path, "parallel"))
        return self._parallel(entry, steps, path)

    def _asked(self, name: str, path: Path) -> Node:
        if name in self.file.models:
            return Ask(name, person=self.file.models[name].adapter == PERSON)
        if name in self.file.plans:
            return self.named(name, path)
        models = list(self.file.models)
        # A name in short stands where its plan would.
        remedy = did_you_mean(name, [*models, *self.file.plans], what="models")
        at: Path = path if isinstance(path[-1], int) else (*path, "ask")
        self.faults.add(at, name, f"is no model; {remedy}")
        return Ask(models[0])

    def _check_people(self, steps: tuple[Node, ...], path: Path, rule: str) -> None:
        for number, step in enumerate(steps):
            if (asked := next(people_of(step), None)) is not None:
                self.faults.add((*path, number), asked, f"is a person, and people {rule}")

    def _check_twice(self, steps: tuple[Node, ...], path: Path) -> None:
        """Note a model beside itself: it is asked once, and its answer would count as several."""
        asked = [step.model if isinstance(step, Ask) else "" for step in steps]
        for number, name in enumerate(asked):
            if name and name in asked[:number]:
                what = "stands twice, and its one answer would count twice; keep one"
                self.faults.add((*path, number), name, what)

    def _cascade(self, entry: PlanEntry, steps: tuple[Node, ...], path: Path) -> Node:
        assert entry.stop is not None, "refused by the entry itself"
        try:
            return Cascade(steps, Expression(entry.stop, _STOP, ("bool",)))
        except ExpressionError as error:
            self.faults.add((*path, "stop"), entry.stop, f"cannot be used: {error}")
            return Sequence(steps)

    def _parallel(self, entry: PlanEntry, steps: tuple[Node, ...], path: Path) -> Node:
        first = entry.join == "first"
        weights = entry.weights or tuple(1.0 for _ in steps)
        combine = entry.combine or "mean"
        quorum = entry.quorum or (1 if first else len(steps))
        joined = Parallel(
            steps, "mean" if combine == "stacked" else combine, weights, quorum, first, entry.within
        )
        if entry.by is None:
            return joined
        if entry.by not in self.file.models:
            remedy = did_you_mean(entry.by, list(self.file.models), what="models")
            self.faults.add((*path, "by"), entry.by, f"is no model; {remedy}")
        return Sequence((joined, Ask(entry.by)))


def _check_order(file: PipelineFile, chosen: Mapping[str, Node], faults: Faults) -> None:
    """Note where a model reads what nobody before it in its plan has answered."""
    for node in chosen.values():
        for name, number, given in read_too_early(file, node):
            key = "reads" if file.models[name].reads else "inputs"
            read = given.partition(".")[0]
            what = f"is read before {read} has answered; put {read} before {name} in a sequence"
            faults.add(("models", name, key, number), given, what)


def read_too_early(file: PipelineFile, node: Node) -> Iterator[tuple[str, int, str]]:
    """Yield what models read of others that have not answered by then: who, which one, what."""
    first = understander_of(file)
    known = frozenset[str]() if first is None else frozenset({first})
    for name, answered in answered_before(node, known):
        entry = file.models[name]
        for number, given in enumerate(entry.reads or entry.inputs):
            read = given.partition(".")[0]
            if "." in given and read != "event" and read not in answered:
                yield name, number, given


def _check_prices(file: PipelineFile, plan: str, node: Node, faults: Faults) -> None:
    """Note models without a price in a plan that goes by it: from cheap to strong."""
    if isinstance(node, Ask):
        return
    for step in node.steps:
        _check_prices(file, plan, step, faults)
    if not isinstance(node, Cascade):
        return
    asked = dict.fromkeys(models_of(node))
    priced = [name for name in asked if file.models[name].cost or file.models[name].prices]
    for name in asked if priced else ():
        if name not in priced:
            what = f"has no price, and the cascade of {plan} goes from cheap to strong"
            remedy = "add cost: 0.0008 EUR, or cost: 0 EUR if it is free"
            faults.add(("models", name), name, f"{what}; {remedy}", key=True)


def _check_trained(file: PipelineFile, chosen: Mapping[str, Node], faults: Faults) -> None:
    """Note models without a file: only the first one that is asked is trained from history."""
    asked = dict.fromkeys(name for node in chosen.values() for name in models_of(node))
    first = understander_of(file)
    for name in list(asked if first is None else {**asked, first: None})[1:]:
        entry = file.models[name]
        untrained = entry.file is None and entry.version is None
        if entry.adapter in _TRAINED and untrained:
            what = "has no file, and only the first model asked is trained; add file and sha256"
            faults.add(("models", name), name, what, key=True)


def _weighted(
    file: PipelineFile, select: SelectEntry, so_far: Understand, faults: Faults
) -> Chooser:
    weights = {
        name: select.weights.get(name, 0.0 if select.weights else 1.0) for name in select.among
    }
    for name in select.weights:
        if name not in weights:
            remedy = did_you_mean(name, list(weights), what="candidates")
            faults.add(("select", "weights", name), name, f"is no candidate; {remedy}", key=True)
    if sum(weights.values()) <= 0:
        faults.add(("select", "weights"), select.weights, "leave no candidate; raise one above 0")
    rules: list[Narrowing] = []
    names, read = rule_names(file, so_far), list[tuple[int, Expression]]()
    for number, rule in enumerate(select.rules):
        path: Path = ("select", "rules", number)
        unknown = [name for name in rule.among if name not in weights]
        if unknown:
            remedy = did_you_mean(unknown[0], list(weights), what="candidates")
            faults.add((*path, "among"), unknown[0], f"is no candidate; {remedy}")
        elif sum(weights[name] for name in rule.among) <= 0:
            faults.add((*path, "among"), list(rule.among), "weigh nothing; give one a weight")
        try:
            when = Expression(rule.when, names, ("bool",))
            rules.append(Narrowing(when, rule.among))
            read.append((number, when))
        except ExpressionError as error:
            faults.add((*path, "when"), rule.when, f"cannot be used: {error}")
    faults.settle()
    check_read(file, read, faults)
    return Weighted(f"{file.pipeline}@{file.version}", weights, rules)
