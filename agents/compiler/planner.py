"""Compiles `select.planner`: who plans, whom it may plan with, and what it is told of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import orjson

from batuta.agents.compiler.budgets import most_nano
from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.proposing import Proposing, allowed_plans
from batuta.agents.compiler.understanding_first import understander_of
from batuta.agents.compiler.verifying import Verifying, read_by
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import AGAIN, Ask, Node, Planned, models_of, text_of
from batuta.agents.models.prices import nano
from batuta.agents.models.skill import skill_of
from batuta.agents.selection.planner import BRIEFING, PROPOSED, Planner, PlannerLimits
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.person import PERSON
from batuta.schemas.pipeline_file.plan_entries import PlannerEntry
from batuta.schemas.pipeline_file.problems import Path, did_you_mean

__all__ = ["with_planner"]

_PATH: Final[Path] = ("select", "planner")
#: What a plan may be, for whoever plans.
_GRAMMAR: Final = (
    "A plan is one JSON object: "
    '{"ask": NAME}, '
    '{"sequence": [STEP, STEP]}: one after the other, the last answer counts; '
    '{"parallel": [STEP, STEP], "combine": "mean" | "vote"}: all at once; '
    '{"cascade": [STEP, STEP], "stop": "confidence > 0.9"}: from cheap to strong; '
    '{"fallback": [STEP, STEP]}: the next one where there is no answer. '
    "A STEP is a NAME of models or plans below, or a plan."
)


def with_planner(
    file: PipelineFile, plans: Mapping[str, Node], delegating: Delegating, verifying: Verifying
) -> Delegating:
    """Return plans beside which a planner proposes others, where the file names one.

    Args:
        file: whose entry it is.
        plans: all of the file, by name.
        delegating: by the candidates alone.
        verifying: puts plans behind their checkpoints.
    """
    planner = _planner(file, plans, delegating.plans, verifying)
    if planner is None:
        return delegating
    chosen = {name: Planned(node, planner) for name, node in delegating.plans.items()}
    return replace(delegating, plans=chosen, planner=planner)


def _planner(
    file: PipelineFile, plans: Mapping[str, Node], chosen: Mapping[str, Node], verifying: Verifying
) -> Planner | None:
    entry = file.select.planner if file.select is not None else None
    if entry is None:
        return None
    faults = verifying.faults
    before = len(faults)
    _check_planner(file, entry, faults)
    asked = frozenset(
        name for node in (*plans.values(), *chosen.values()) for name in models_of(node)
    )
    if entry.ask in asked:
        what = "plans, and is asked by a plan as well; name another model"
        faults.add((*_PATH, "ask"), entry.ask, what)
    for number, name in enumerate(entry.allow):
        _check_allowed(file, entry, number, faults)
        _check_file(file, name, asked, faults)
    if PROPOSED in file.plans:
        what = "is what plans of a planner are called in records; name this one otherwise"
        faults.add(("plans", PROPOSED), PROPOSED, what, key=True)
    if len(faults) > before:
        return None
    limits = PlannerLimits(
        bytes_max=entry.size,
        depth_max=entry.depth,
        steps_max=entry.steps,
        price_nano=nano(entry.price.amount) if entry.price is not None else None,
        replans=entry.replans,
    )
    allowed = frozenset(entry.allow)
    turns = (entry.ask, f"{entry.ask}{AGAIN}")[: entry.replans + 1]
    return Planner(
        entry.ask,
        tuple(Ask(name, person=file.models[name].adapter == PERSON) for name in entry.allow),
        Proposing(file, verifying, allowed, limits, turns),
        limits,
        _briefing(file, entry, {name: plans[name] for name in file.plans}),
    )


def _check_planner(file: PipelineFile, entry: PlannerEntry, faults: Faults) -> None:
    path: Path = (*_PATH, "ask")
    model = file.models.get(entry.ask)
    if model is None:
        faults.add(
            path,
            entry.ask,
            f"is no model; {did_you_mean(entry.ask, list(file.models), what='models')}",
        )
        return
    for what in _unfit(file, model):
        faults.add(path, entry.ask, what)


def _unfit(file: PipelineFile, model: ModelEntry) -> Iterator[str]:
    """Yield why a model cannot plan."""
    if model.adapter == PERSON:
        yield "is a person, and plans are made by models; name one that has reads"
    elif not model.reads:
        yield 'sees a matrix, and a planner reads; give it "reads" in place of inputs'
    if others := [name for name in read_by(model) if name != understander_of(file)]:
        yield f"reads what {', '.join(others)} answered, but plans before; leave that out"
    if BRIEFING in model.reads:
        yield f'reads "{BRIEFING}", which is what it is given to plan with; rename the feature'
    if model.timeout >= file.deadline:
        yield "may take as long as the event has; give it a timeout shorter than the deadline"


def _check_allowed(file: PipelineFile, entry: PlannerEntry, number: int, faults: Faults) -> None:
    """Note what is wrong with a model that may be planned with."""
    name, price = entry.allow[number], entry.price
    path: Path = (*_PATH, "allow", number)
    model = file.models.get(name)
    if model is None:
        remedy = did_you_mean(name, list(file.models), what="models")
        faults.add(path, name, f"is no model; {remedy}")
        return
    if name in entry.allow[:number]:
        faults.add(path, name, "stands twice; keep one")
    if name == entry.ask:
        faults.add(path, name, "plans, and cannot plan with itself; leave it out")
    prices = [model.cost] if model.cost is not None else []
    prices += [model.prices.input, model.prices.output] if model.prices is not None else []
    if price is None:
        if most_nano(model):
            what = "costs money, and nothing bounds what a plan may cost"
            faults.add(path, name, f"{what}; add price: 0.01 {prices[0].currency}")
    elif not prices:
        remedy = f"add cost: 0.001 {price.currency}, or 0 {price.currency} if it is free"
        what = f"has no price, and its planner is bound by one; {remedy}"
        faults.add(("models", name), name, what, key=True)
    elif foreign := next((one for one in prices if one.currency != price.currency), None):
        what = f"is not the currency of {name}, {foreign.currency}; keep to one"
        faults.add((*_PATH, "price"), price.currency, what)


def _check_file(file: PipelineFile, name: str, asked: frozenset[str], faults: Faults) -> None:
    """Note a model without a file that no plan asks: nobody trains it."""
    model = file.models.get(name)
    if model is None or name in asked or model.adapter != "onnx":
        return
    if model.file is None and model.version is None:
        what = "has no file, and no plan asks it, so that it is not trained; add file and sha256"
        faults.add(("models", name), name, what, key=True)


def _briefing(file: PipelineFile, entry: PlannerEntry, plans: Mapping[str, Node]) -> bytes:
    """Return what a planner is told beside the event, as JSON."""
    skills = {
        name: skill_of(model, model.inputs or model.reads).model_dump(mode="json")
        for name, model in file.models.items()
        if name in entry.allow
    }
    named = allowed_plans(plans, frozenset(entry.allow))
    return orjson.dumps(
        {
            "grammar": _GRAMMAR,
            "models": skills,
            "plans": {name: text_of(plans[name]) for name in named},
            "limits": {
                "depth": entry.depth,
                "steps": entry.steps,
                "bytes": entry.size,
                "price": None
                if entry.price is None
                else f"{entry.price.amount:f} {entry.price.currency}",
            },
        }
    )
