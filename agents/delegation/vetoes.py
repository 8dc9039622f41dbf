"""Vetoes: a chosen plan that cannot come to an answer gives way to the next candidate that can.

A plan cannot answer where the models it rests on are not asked at the moment: their breakers are
open. Whoever chose did not know; the choice is replaced before anybody is asked, by the next
candidate in the order of the file that has a chance of its own and can answer. Where none can, it
stands: what the plan falls back on, a person in the end, is as good as any other's. The propensity
that is recorded is that of the plan that is followed, with those whose place it takes.
"""

from collections.abc import Mapping, Sequence

from batuta.agents.delegation.plans import Ask, Checked, Node, Parallel, Planned, Steered
from batuta.agents.delegation.plans import Sequence as InTurn
from batuta.schemas.decision import Selection

__all__ = ["can_answer", "vetoed"]


def can_answer(node: Node, refusing: frozenset[str]) -> bool:
    """Say whether a plan can come to an answer though some models are not asked.

    >>> from batuta.agents.delegation.plans import Fallback
    >>> can_answer(Fallback((Ask("a"), Ask("b"))), frozenset({"a"}))
    True
    """
    if isinstance(node, Ask):
        return node.model not in refusing
    if isinstance(node, Planned):
        # Whoever plans is no part of what can answer: without it the plan of the file stands.
        return can_answer(node.static, refusing)
    able = [can_answer(step, refusing) for step in node.steps]
    if isinstance(node, InTurn | Checked | Steered):
        return all(able)
    if isinstance(node, Parallel):
        return sum(able) >= node.quorum
    return any(able)


def vetoed(
    choices: Sequence[Selection], plans: Mapping[str, Node], refusing: frozenset[str]
) -> Sequence[Selection]:
    """Return choices, those of plans that cannot answer replaced.

    Args:
        choices: one per event.
        plans: by name.
        refusing: models that are not asked now.
    """
    unable = [name for name, node in plans.items() if not can_answer(node, refusing)]
    if not unable or len(unable) == len(plans):
        return choices
    replaced: dict[int, Selection] = {}
    found: list[Selection] = []
    for choice in choices:
        # Choosers hand out few choices many times over.
        other = replaced.get(id(choice))
        if other is None:
            other = replaced[id(choice)] = _replaced(choice, unable, refusing)
        found.append(other)
    return found


def _replaced(choice: Selection, unable: Sequence[str], refusing: frozenset[str]) -> Selection:
    if choice.proposal or choice.plan not in choice.candidates:
        return choice
    likely = [name for name, chance in choice.candidates.items() if chance > 0]
    able = [name for name in likely if name not in unable]
    if not able:
        return choice
    chances = dict.fromkeys(choice.candidates, 0.0)
    for name, chance in choice.candidates.items():
        chances[name if name in able else _next(name, likely, able)] += chance
    plan, reason, by = choice.plan, choice.reason, choice.by
    if plan not in able:
        plan, by = _next(plan, likely, able), "breaker"
        reason = f"{choice.plan} cannot answer: not asked now: {', '.join(sorted(refusing))}"
    return choice._replace(
        plan=plan, by=by, reason=reason, propensity=chances[plan], candidates=chances
    )


def _next(plan: str, likely: Sequence[str], able: Sequence[str]) -> str:
    """Return the next plan that can answer, from the beginning again behind the last."""
    place = likely.index(plan) if plan in likely else 0
    return next(name for name in (*likely[place:], *likely[:place]) if name in able)
