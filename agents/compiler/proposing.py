"""Compiles what a planner proposes: by the grammar of plans, within what its pipeline allows.

A proposal is compiled as a plan of the file is, and put behind what `verify` asks of every plan; it
brings no checks of its own, as a check may take taint off. Compiling asks nobody: what is compiled
is looked at once more before it is followed, whatever it is made of.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from batuta.agents.compiler.budgets import most_nano
from batuta.agents.compiler.planning import Planning, read_too_early
from batuta.agents.compiler.verifying import Verifying
from batuta.agents.delegation.plans import Ask, Checked, Node, Steered, checked_within, models_of
from batuta.agents.selection.planner import PlannerLimits
from batuta.agents.selection.proposals import ProposalRefused, Refusal
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.plan_entries import PlanEntry

__all__ = ["CHECKS", "FIRST_CHECKS", "Compiled", "Proposing", "allowed_plans", "price_nano"]

#: Where problems of a proposal are noted; nobody reads them but by their number.
_NOWHERE: Final = ("select", "planner")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled proposal, before it is put behind what `verify` asks for.

    Attributes:
        verified: behind it.
        allowed: whom it may ask.
    """

    file: PipelineFile
    node: Node
    verified: Node
    allowed: frozenset[str]
    limits: PlannerLimits


def _allowed(found: Compiled) -> Refusal | None:
    return None if set(models_of(found.node)) <= found.allowed else "model_not_allowed"


def _deep(found: Compiled) -> Refusal | None:
    return "too_deep" if _depth(found.node) > found.limits.depth_max else None


def _long(found: Compiled) -> Refusal | None:
    return "too_many_steps" if _steps(found.node) > found.limits.steps_max else None


def _in_order(found: Compiled) -> Refusal | None:
    return "read_too_early" if any(read_too_early(found.file, found.node)) else None


def _payable(found: Compiled) -> Refusal | None:
    most = found.limits.price_nano
    dear = most is not None and price_nano(found.file, found.verified) > most
    return "over_price" if dear else None


def _known(entry: PlanEntry, file: PipelineFile) -> Refusal | None:
    known = file.models.keys() | file.plans.keys()
    return None if known >= set(_named(entry)) else "model_unknown"


def _without_checks(entry: PlanEntry, file: PipelineFile) -> Refusal | None:
    del file
    brought = any(one.check or one.on_failure is not None for one in _entries(entry))
    return "check_not_allowed" if brought else None


#: What is looked at before anything is compiled, in order.
FIRST_CHECKS: Final[tuple[Callable[[PlanEntry, PipelineFile], Refusal | None], ...]] = (
    _without_checks,
    _known,
)
#: What is looked at then, in order.
CHECKS: Final[tuple[Callable[[Compiled], Refusal | None], ...]] = (
    _allowed,
    _deep,
    _long,
    _in_order,
    _payable,
)


class Proposing:
    """Makes plans of canonical JSON, for one pipeline file."""

    def __init__(
        self,
        file: PipelineFile,
        verifying: Verifying,
        allowed: frozenset[str],
        limits: PlannerLimits,
        planners: tuple[str, ...],
    ) -> None:
        """Take the file and what it allows.

        Args:
            file: whose models and plans may be named.
            verifying: puts every plan behind its checkpoint; its file was found to be right.
            allowed: the models that may be asked.
            limits: of a proposal.
            planners: under which names whoever proposes is heard.
        """
        self._file = file
        self._verifying = verifying
        self._allowed = allowed
        self._limits = limits
        self._planners = planners

    def __call__(self, text: str) -> Node:
        """Return the plan that a proposal means.

        Raises:
            ProposalRefused: it is none, or none that may be followed.
        """
        entry = _entry(text)
        for look in FIRST_CHECKS:
            if (refused := look(entry, self._file)) is not None:
                raise ProposalRefused(refused)
        faults = self._verifying.faults.beside()
        node = Planning(self._file, faults, self._verifying).node(entry, _NOWHERE)
        if len(faults) or self._verifying.untold(node):
            raise ProposalRefused("not_compiled")
        verified = self._verifying.verified(Steered(node, self._planners))
        found = Compiled(self._file, node, verified, self._allowed, self._limits)
        for check in CHECKS:
            if (refused := check(found)) is not None:
                raise ProposalRefused(refused)
        return verified


def price_nano(file: PipelineFile, node: Node) -> int:
    """Return what a plan costs at most: each of its models is asked, and every remedy is tried."""
    costs = {name: most_nano(file.models[name]) for name in dict.fromkeys(models_of(node))}
    total = sum(costs.values())
    for checked in checked_within(node):
        # What comes of a remedy is judged again.
        judges = [one.model for one in checked.checkpoint.validators]
        for remedy in checked.checkpoint.remedies.each:
            total += remedy.times * sum(costs[name] for name in (*remedy.asks, *judges))
    return total


def _entry(text: str) -> PlanEntry:
    try:
        return PlanEntry.model_validate_json(text)
    except ValidationError as error:
        raise ProposalRefused("not_a_plan") from error


def _entries(entry: PlanEntry) -> Iterator[PlanEntry]:
    yield entry
    for step in entry.steps:
        yield from _entries(step)


def _named(entry: PlanEntry) -> Iterator[str]:
    """Yield the models and plans that a proposal names."""
    for one in _entries(entry):
        yield from (name for name in (one.ask, one.by) if name is not None)


def _depth(node: Node) -> int:
    """Return how deep a plan is nested; a model alone is 1, and a checkpoint is no level."""
    if isinstance(node, Ask):
        return 1
    within = max(_depth(step) for step in node.steps)
    return within if isinstance(node, Checked) else within + 1


def _steps(node: Node) -> int:
    return 1 if isinstance(node, Ask) else 1 + sum(_steps(step) for step in node.steps)


def allowed_plans(plans: Mapping[str, Node], allowed: frozenset[str]) -> Iterator[str]:
    """Yield the names of plans that ask nobody but whom a planner may plan with."""
    return (name for name, node in plans.items() if set(models_of(node)) <= allowed)
