"""Compiles `select.understand`: who is asked about each event before its plan is chosen.

A plan that is chosen so is steered by whoever understood the event: what it comes to carries that
model's taint too, until a check vouches for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.understood import RESERVED, Understand
from batuta.agents.compiler.verifying import read_by
from batuta.agents.delegation.plans import Node, Steered
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Kind, Names
from batuta.agents.selection.understood import PARTS
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.person import PERSON
from batuta.schemas.pipeline_file.problems import Path, did_you_mean

__all__ = ["check_read", "check_understander", "rule_names", "steered", "understander_of"]

_PATH: Final[Path] = ("select", "understand")
#: The adapters whose answers have values beside the score.
_TELLING: Final = ("openai", "python", "text")


def understander_of(file: PipelineFile) -> str | None:
    """Return who is asked before plans are chosen; None where nobody is, or nobody is known."""
    named = file.select.understand if file.select is not None else None
    return named if named in file.models else None


def steered(file: PipelineFile, node: Node) -> Node:
    """Return a plan that is chosen by what was understood, where somebody understands."""
    model = understander_of(file)
    return node if model is None else Steered(node, (model,))


def rule_names(file: PipelineFile, so_far: Understand) -> Names:
    """Return what the rules of `select` may name."""
    model = understander_of(file)
    if model is None:
        return so_far.names({})
    kinds: Mapping[str, Kind] = {f"{model}.{part}": "double" for part in PARTS}
    return replace(so_far.names(kinds), maps=frozenset({f"{model}.value"}))


def check_understander(file: PipelineFile, faults: Faults) -> None:
    """Note what is wrong with who is to understand."""
    select = file.select
    if select is None or select.understand is None:
        return
    name = select.understand
    model = file.models.get(name)
    if model is None:
        remedy = did_you_mean(name, list(file.models), what="models")
        faults.add(_PATH, name, f"is no model; {remedy}")
        return
    for what in _unfit(file, name, model):
        faults.add(_PATH, name, what)
    if len(select.among) == 1:
        what = f"chooses nothing, as {select.among[0]} is the one candidate"
        remedy = f"ask {name} first in its sequence, or add candidates"
        faults.add(_PATH, name, f"{what}; {remedy}")


def check_read(file: PipelineFile, rules: Iterable[tuple[int, Expression]], faults: Faults) -> None:
    """Note rules that read what is never answered, and that none reads what is."""
    name = understander_of(file)
    if name is None:
        return
    adapter = file.models[name].adapter
    read = False
    for number, rule in rules:
        named = {one for one in rule.names if one.partition(".")[0] == name and "." in one}
        read |= bool(named)
        if f"{name}.value" in named and adapter not in _TELLING:
            what = f"reads a field of a value, and {name} answers no values: it is {adapter}"
            remedy = f"go by {name}.score or {name}.confidence"
            faults.add(("select", "rules", number, "when"), rule.text, f"{what}; {remedy}")
    if not read:
        what = "is asked before plans are chosen, and no rule goes by its answer"
        remedy = f"add a rule of {name}.score, or ask it first in a sequence"
        faults.add(_PATH, name, f"{what}; {remedy}")


def _unfit(file: PipelineFile, name: str, model: ModelEntry) -> Iterator[str]:
    """Yield why a model cannot understand events before their plans are chosen."""
    planner = file.select.planner if file.select is not None else None
    if model.adapter == PERSON:
        yield "is a person, and plans are chosen before people are asked; name a model"
    elif others := read_by(model):
        yield f"reads what {', '.join(others)} answered, but is asked first; leave that out"
    if planner is not None and planner.ask == name:
        yield "plans as well; name another model"
    if name in RESERVED:
        yield "means something else in rules; give the model another name"
    if model.adapter != PERSON and model.timeout >= file.deadline:
        yield "may take as long as the event has; give it a timeout shorter than the deadline"
