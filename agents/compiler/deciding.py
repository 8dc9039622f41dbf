"""Compiles models, decide and notify: what models see, what follows, who is told."""

from collections.abc import Iterable, Mapping
from typing import Final

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.understood import Understand
from batuta.agents.models.port import CRITIQUE
from batuta.agents.policy.expressions import Expression, ExpressionError
from batuta.agents.policy.names import Kind, Names
from batuta.schemas.pipeline_file.entries import DecideEntry, ModelEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path, did_you_mean
from batuta.schemas.pipeline_rules import NotifyRule, Rule

__all__ = ["inputs_of", "notify_names", "notify_rules", "rules_of"]

_NUMERIC: Final = frozenset({"double", "int", "bool"})
_SCORE: Final[Mapping[str, Kind]] = {"score": "double"}
_TOLD: Final[Mapping[str, Kind]] = {"score": "double", "outcome": "string"}


def inputs_of(
    name: str, others: Iterable[str], entry: ModelEntry, so_far: Understand, faults: Faults
) -> tuple[str, ...]:
    """Return what a model sees, groups taken apart, in order: features, and others' answers."""
    if entry.reads:
        return _reads_of(name, others, entry, so_far, faults)
    columns: list[str] = []
    fields, features, groups = so_far.fields, so_far.features, so_far.groups
    told = {f"{other}.{part}" for other in others for part in ("score", "confidence")}
    numbers = [n for n, one in fields.items() if one.kind in _NUMERIC]
    for number, given in enumerate(entry.inputs):
        path: Path = ("models", name, "inputs", number)
        if given in groups:
            columns += groups[given]
        elif given in features or given in numbers or given in told:
            columns.append(given)
        elif given in fields:
            remedy = f"make a number of it in context, or take one of: {', '.join(numbers)}"
            faults.add(path, given, f"is a field that is no number; {remedy}")
        else:
            remedy = did_you_mean(given, [*features, *groups, *numbers])
            faults.add(path, given, f"is neither feature, group nor number field; {remedy}")
    for number, column in enumerate(columns):
        if column in columns[:number]:
            path = ("models", name, "inputs")
            faults.add(path, column, "is seen twice by this model; name it once")
    return tuple(columns)


def _reads_of(
    name: str, others: Iterable[str], entry: ModelEntry, so_far: Understand, faults: Faults
) -> tuple[str, ...]:
    """Return the paths that a model reads: features, the event or fields of it, others' answers."""
    fields, features = so_far.fields, so_far.features
    numbers = [n for n, one in fields.items() if one.kind in _NUMERIC]
    told = [f"{other}.{part}" for other in others for part in ("score", "confidence", "value")]
    parts = ["event", *(f"event.{field}" for field in fields), CRITIQUE]
    known = [*features, *numbers, *parts, *told]
    for number, given in enumerate(entry.reads):
        path: Path = ("models", name, "reads", number)
        if given not in known:
            what = "is no feature, no number field, no part of the event and nobody's answer"
            faults.add(path, given, f"{what}; {did_you_mean(given, known)}")
        elif given in entry.reads[:number]:
            faults.add(path, given, "is read twice by this model; name it once")
    return entry.reads


def rules_of(file: PipelineFile, so_far: Understand, faults: Faults) -> tuple[Rule, ...]:
    """Return the decide rules, type-checked."""
    names = so_far.names(_SCORE)
    _check_ends(file, faults)
    rules: list[Rule] = []
    for number, entry in enumerate(file.decide):
        path: Path = ("decide", number)
        if entry.when is not None:
            _check((*path, "when"), entry.when, names, faults)
        rules.append(_rule(number, entry, file, faults))
    return tuple(rules)


def _check_ends(file: PipelineFile, faults: Faults) -> None:
    last = len(file.decide) - 1
    if file.decide[last].otherwise is None:
        what = "is the last rule and need not hold; add - {otherwise: review} behind it"
        faults.add(("decide", last), f"decide[{last}]", what)
    for number, entry in enumerate(file.decide[:last]):
        if entry.otherwise is not None:
            what = "always holds, so that nothing behind it counts; move it to the end"
            faults.add(("decide", number, "otherwise"), entry.otherwise, what, key=True)


def _rule(number: int, entry: DecideEntry, file: PipelineFile, faults: Faults) -> Rule:
    outcome = entry.outcome or entry.otherwise
    assert outcome is not None, "refused by the entry itself"
    version, carries = 1, None
    if entry.action is not None:
        declared = file.actions.get(entry.action)
        if declared is None:
            remedy = did_you_mean(entry.action, list(file.actions), what="actions")
            hint = remedy if file.actions else f"add actions: {{{entry.action}: {{version: 1}}}}"
            faults.add(("decide", number, "action"), entry.action, f"is no action; {hint}")
        else:
            version, carries = declared.version, _carried(entry.action, file, faults)
    return Rule(
        when=entry.when,
        outcome=outcome,
        reason=entry.reason or f"rule_{number + 1}",
        action=entry.action,
        action_version=version,
        action_carries=carries,
    )


def _carried(action: str, file: PipelineFile, faults: Faults) -> str | None:
    """Return the model whose value an action carries."""
    carries = file.actions[action].carries
    if carries is not None and carries not in file.models:
        remedy = did_you_mean(carries, list(file.models), what="models")
        faults.add(("actions", action, "carries"), carries, f"is no model; {remedy}")
    return carries


def notify_names(so_far: Understand, inputs: Iterable[str]) -> Names:
    """Return what a notify rule may name: what stands in a decision's record."""
    kinds: dict[str, Kind] = {}
    for name in inputs:
        feature = so_far.features.get(name)
        kinds[name] = feature.kind if feature else so_far.fields[name].kind or "double"
    return Names({**kinds, **_TOLD}, frozenset(), so_far.zone)


def notify_rules(file: PipelineFile, names: Names, faults: Faults) -> tuple[NotifyRule, ...]:
    """Return who is told what, type-checked."""
    titles = [entry.title for entry in file.notify]
    for number, entry in enumerate(file.notify):
        if entry.title in titles[:number]:
            what = "is the title of an earlier rule; word it differently"
            faults.add(("notify", number, "title"), entry.title, what)
        _check(("notify", number, "when"), entry.when, names, faults)
    return tuple(
        NotifyRule(when=entry.when, severity=entry.severity, title=entry.title)
        for entry in file.notify
    )


def _check(path: Path, text: str, names: Names, faults: Faults) -> None:
    try:
        Expression(text, names, ("bool",))
    except ExpressionError as error:
        faults.add(path, text, f"cannot be used: {error}")
