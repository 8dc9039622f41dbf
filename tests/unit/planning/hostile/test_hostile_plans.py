"""1,000 plans that a planner might be made to say: nothing is asked that is not allowed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from batuta.agents.compiler import proposing
from batuta.agents.selection.proposals import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batuta.schemas.decision import Decision

    Open = Callable[..., Any]
    Saids = list[Any]

FOLLOWED = "followed"
ALLOWED = {"cheap", "strong", "reader", "dear", "analyst"}
PRICE_NANO = 20_000_000
COSTS_NANO = {"cheap": 1, "strong": 10, "reader": 1, "dear": 1_000, "analyst": 5}
PLANS: dict[str, object] = {
    "static": {"ask": "cheap"},
    "twice": {"sequence": ["cheap", "reader"]},
    "hidden": {"fallback": ["secret", "cheap"]},
}


def models_in(plan: Any) -> Iterator[str]:
    """Yield whom a plan asks: by its JSON alone."""
    if isinstance(plan, str):
        yield from models_in(PLANS[plan]) if plan in PLANS else [plan]
        return
    for key, value in plan.items():
        if key in {"ask", "by"}:
            yield from models_in(value)
        elif key in {"sequence", "parallel", "cascade", "fallback"}:
            for step in value:
                yield from models_in(step)


def depth_of(plan: Any) -> int:
    if isinstance(plan, str):
        return depth_of(PLANS[plan]) if plan in PLANS else 1
    if "ask" in plan:
        return depth_of(plan["ask"])
    steps = next(value for value in plan.values() if isinstance(value, list))
    return 1 + max(map(depth_of, steps))


def offends(decision: Decision) -> str:
    """Return what is wrong with what was asked about one event; empty where nothing is."""
    asked = {answer.name for answer in decision.answers} - {"strategist"}
    selection = decision.selection
    assert selection is not None
    if not asked <= ALLOWED:
        return f"asked {asked - ALLOWED}"
    paid = sum(a.cost_nano for a in decision.answers if a.name != "strategist")
    if paid > PRICE_NANO:
        return f"paid {paid}"
    if not selection.proposal:
        return "" if asked == {"cheap"} else f"asked {asked} by the plan of the file"
    plan = json.loads(selection.proposal)
    if not asked <= set(models_in(plan)):
        return f"asked {asked} by {plan}"
    nano = sum(COSTS_NANO[name] for name in set(models_in(plan))) * 1_000_000
    if nano > PRICE_NANO or depth_of(plan) > 4 or len(selection.proposal.encode()) > 2_048:
        return f"followed {plan}"
    return "brought checks" if "check" in selection.proposal else ""


def test_nothing_is_asked_outside_allow_list_depth_or_budget(desk: Open, said: Saids) -> None:
    opened = desk()
    decisions = opened.decide(*(one.value for one in said))
    assert len(decisions) == len(said) == 1_000
    for one, decision in zip(said, decisions, strict=True):
        selection = decision.selection
        assert selection is not None
        assert selection.planning in one.becomes, (one, selection)
        assert not offends(decision), (one, decision)
        assert (selection.by == "planner") == (selection.planning == FOLLOWED)
        assert decision.fallback == (selection.planning != FOLLOWED)
    assert not opened.models["dear"].rows
    assert "secret" not in opened.models, "nobody plans with it, so nobody opened it"
    told = {one.selection.planning for one in decisions if one.selection}
    assert told >= {*REFUSALS, FOLLOWED}, "every reason was met"
    assert sum(one.kind == "good" for one in said) > 50


def misjudged(opened: Any, said: Saids) -> list[str]:
    """Return the kinds of plans that do not become what they should."""
    judge = opened.planner.judge
    return [one.kind for one in said if (judge(one.value).refused or FOLLOWED) not in one.becomes]


def test_each_plan_is_judged_as_it_should_be(desk: Open, said: Saids) -> None:
    assert not misjudged(desk(), said)


@pytest.mark.parametrize("dropped", range(len(proposing.CHECKS)))
def test_without_one_check_of_what_is_compiled_something_gets_through(
    desk: Open, said: Saids, dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [check for place, check in enumerate(proposing.CHECKS) if place != dropped]
    monkeypatch.setattr(proposing, "CHECKS", kept)
    followed = [one for one in misjudged(desk(), said) if one != "good"]
    assert followed, proposing.CHECKS


@pytest.mark.parametrize("dropped", range(len(proposing.FIRST_CHECKS)))
def test_without_one_check_of_what_is_said_something_is_judged_otherwise(
    desk: Open, said: Saids, dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [check for place, check in enumerate(proposing.FIRST_CHECKS) if place != dropped]
    monkeypatch.setattr(proposing, "FIRST_CHECKS", kept)
    assert misjudged(desk(), said)


def _all_pass(text: str) -> None:
    del text


@pytest.mark.parametrize(
    "mutation", [("_refuse_nested", _all_pass, "bomb"), ("_once", dict, "key twice")]
)
def test_without_strict_reading_something_is_judged_otherwise(
    desk: Open, said: Saids, mutation: tuple[str, object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, mutant, kind = mutation
    monkeypatch.setattr(f"batuta.agents.selection.proposals.{name}", mutant)
    assert kind in misjudged(desk(), said)


def test_a_proposal_without_bound_is_followed_where_size_is_not_looked_at(
    desk: Open, said: Saids
) -> None:
    opened = desk("size: 2KiB", "size: 64KiB")
    assert "huge" in misjudged(opened, said)
