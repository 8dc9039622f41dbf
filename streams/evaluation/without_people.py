"""A pipeline without its people: in an evaluation nobody is asked, so nobody is waited for.

Months pass in minutes there, and no history says what somebody would have answered. A step that
asks a person hears at once that their time is over, as it would after its `sla`: the plan goes on
by its rule, and the record says `timeout`.
"""

from collections.abc import Mapping
from dataclasses import replace

from batuta.agents.delegation.people import Person
from batuta.agents.delegation.plans import Ask, Checked, Node, Planned, Steered
from batuta.agents.models.port import AnyModel, Matrix, Scores
from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas.errors import ModelFailedError

__all__ = ["without_people"]


class _Nobody:
    """A Model in a person's place, which has never time."""

    inputs: tuple[str, ...] = ()

    def __init__(self, person: Person) -> None:
        self.name, self.version = person.name, person.version

    async def answer(self, inputs: Matrix) -> Scores:
        """Have no answer.

        Raises:
            ModelFailedError: always.
        """
        del inputs
        raise ModelFailedError("timeout", f"{self.name}: nobody is asked in an evaluation")


def without_people(
    loaded: LoadedPipeline, models: Mapping[str, AnyModel]
) -> tuple[LoadedPipeline, Mapping[str, AnyModel]]:
    """Return a pipeline that asks no person, and its models with somebody in each one's place."""
    delegating = loaded.plan.delegating
    plans = {name: _without(node) for name, node in delegating.plans.items()}
    planner = delegating.planner
    if planner is not None:
        # Whom a planner asks is not known before.
        planner = planner.remade(_without)
        for name, node in plans.items():
            plans[name] = replace(node, planner=planner) if isinstance(node, Planned) else node
    without = replace(delegating, plans=plans, people={}, planner=planner)
    plan = replace(loaded.plan, delegating=without)
    nobody = {name: _Nobody(person) for name, person in delegating.people.items()}
    return replace(loaded, plan=plan), {**models, **nobody}


def _without(node: Node) -> Node:
    if isinstance(node, Ask):
        return Ask(node.model)
    if isinstance(node, Checked | Steered):
        return replace(node, step=_without(node.step))
    if isinstance(node, Planned):
        return replace(node, static=_without(node.static))
    return replace(node, steps=tuple(_without(step) for step in node.steps))
