"""How a decision came about, as a tree: chosen by whom, who answered what, what followed."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.text import Text
from rich.tree import Tree

from batuta.agents.budgets.rule import amount_text
from batuta.agents.delegation.plans import Ask, Checked, Node, lone_ask
from batuta.agents.selection.planner import outcome_of
from batuta.schemas.decision import CheckResult, Correction, Decision, ModelAnswer, Selection
from batuta.schemas.pipeline_rules import Rule
from batuta.schemas.review import Reviewed, StepCase
from batuta.streams.cli.records import when

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped
    from batuta.streams.cli.story import Evidence, Story

__all__ = ["tree_of"]

_LIKELY: Final = "{:.0%}"


def tree_of(story: "Story", decision: Decision, shipped: "Shipped") -> Tree:
    """Return the tree of one decision.

    Args:
        story: what else is known of its event.
        decision: the record.
        shipped: the pipeline as it is now: its rules, and whose answer is checked where.
    """
    tree = Tree(_selected(decision.selection), guide_style="dim")
    if decision.selection is not None and len(decision.selection.candidates) > 1:
        tree.add(_candidates(decision.selection))
    if decision.selection is not None and decision.selection.planning:
        tree.add(_planning(decision.selection))
    asked = {found.message.asked: found.message for found in story.questions}
    whose, whole = _checked_at(decision, shipped)
    for answer in decision.answers:
        branch = tree.add(_answer(answer, shipped.plan.delegating.understood_by))
        _add_said(branch, answer)
        _add_taint(branch, answer.taint)
        _add_checks(branch, whose.get(answer.name, ()))
        if answer.name in asked:
            _add_question(branch, asked[answer.name], story.reviewed)
    _add_checks(tree, whole)
    if paid := _paid(decision):
        tree.add(Text(f"cost {paid}", style="dim"))
    if not decision.answers:
        tree.add(Text(f"{decision.model}, and no record of its answer", style="dim"))
    _add_corrections(tree, decision.corrections)
    if decision.fallback:
        tree.add(Text("fallback: another answer stands for the intended one", style="yellow"))
    if decision.control_offset is not None:
        tree.add(Text(f"models live by control offset {decision.control_offset}", style="dim"))
    _add_taint(tree, decision.taint, "acts only through a person")
    _add_ruled(tree, decision, shipped.pipeline.decide)
    _add_followed(tree, story)
    return tree


def _add_said(branch: Tree, answer: ModelAnswer) -> None:
    if answer.evidence:
        branch.add(Text(answer.evidence, style="dim"))
    if answer.value is not None:
        branch.add(Text(f"says {json.dumps(answer.value, ensure_ascii=False)}", style="dim"))


def _selected(selection: Selection | None) -> Text:
    if selection is None:
        return Text("the one model there was")
    line = Text("plan ")
    line.append(selection.plan, style="bold").append(f", chosen by {selection.by}")
    chance = _LIKELY.format(selection.propensity)
    return line.append(f" with a propensity of {chance}: {selection.reason}", style="dim")


def _candidates(selection: Selection) -> Text:
    told = [f"{name} {_LIKELY.format(p)}" for name, p in selection.candidates.items()]
    return Text(f"candidates: {', '.join(told)}", style="dim")


def _planning(selection: Selection) -> Text:
    """Say what a planner has proposed, and what became of it."""
    line = Text("planner: ").append(selection.planning, style="bold")
    if outcome_of(selection.planning) not in {"followed", "replanned"}:
        line.append(f", so that plan {selection.plan} stands", style="yellow")
    line.append(f"  {selection.proposal}" if selection.proposal else "", style="dim")
    if selection.planning_cost_nano:
        cost = amount_text(selection.planning_cost_nano, selection.planning_currency)
        line.append(f"  cost {cost}", style="dim")
    return line


def _answer(answer: ModelAnswer, first: str | None) -> Text:
    """Say what was answered; `first` was asked before the plan was chosen."""
    line = Text(answer.name, style="bold")
    line.append(f"  {answer.model}", style="dim not bold")
    if answer.failure:
        line.append(f"  no answer: {answer.failure}", style="red not bold")
    else:
        line.append(f"  {answer.score:.3f}", style="not bold")
        if answer.confidence is not None:
            line.append(f", sure by {answer.confidence:.3f}", style="not bold")
    line.append(f", {answer.duration_ms:,} ms", style="dim not bold")
    if answer.name == first:
        line.append(", asked before the plan was chosen", style="dim not bold")
    if answer.cost_nano:
        cost = amount_text(answer.cost_nano, answer.currency)
        line.append(f", {cost}", style="dim not bold")
    return line


def _paid(decision: Decision) -> str:
    """Return what all answers cost together, by currency; empty where nothing was billed."""
    costs: Counter[str] = Counter()
    for answer in decision.answers:
        costs[answer.currency] += answer.cost_nano
    return " and ".join(amount_text(nano, currency) for currency, nano in costs.items() if nano)


def _checked_at(
    decision: Decision, shipped: "Shipped"
) -> tuple[dict[str, list[CheckResult]], list[CheckResult]]:
    """Return the checks of each answer, and those of what all of them came to.

    Which answer a checkpoint stands behind says the pipeline as it is now; one that it does not
    know, and one behind a plan of several models, checks what they came to.
    """
    behind = {
        node.checkpoint.name: asked.model
        for node in _checked_of(shipped.plan.delegating.plans.values())
        # Which models stand in a plan that was proposed, the pipeline does not know.
        if (asked := lone_ask(node.step)) is not None
        and not (decision.selection and decision.selection.proposal)
    }
    answered = {answer.name for answer in decision.answers}
    whose: dict[str, list[CheckResult]] = {}
    whole: list[CheckResult] = []
    for result in decision.checks:
        name = behind.get(result.at, "")
        (whose.setdefault(name, []) if name in answered else whole).append(result)
    return whose, whole


def _checked_of(nodes: Iterable[Node]) -> Iterator[Checked]:
    """Yield the checked steps of some plans, however deep."""
    for node in nodes:
        if isinstance(node, Checked):
            yield node
        if not isinstance(node, Ask):
            yield from _checked_of(node.steps)


def _add_checks(branch: Tree, checks: Sequence[CheckResult]) -> None:
    """Say which checks an answer passed, by checkpoint."""
    for at, found in groupby(checks, key=lambda check: check.at):
        results = tuple(found)
        refused = any(check.reason for check in results)
        line = Text(f"checked at {at}: ", style="red" if refused else "green")
        line.append("refused" if refused else "passed")
        told = branch.add(line)
        for check in results:
            said = f"refused: {check.reason}" if check.reason else "passed"
            told.add(Text(f"{check.check}  {said}", style="red" if check.reason else "dim"))


def _add_taint(branch: Tree, taint: Sequence[str], follows: str = "") -> None:
    """Say what may be wrong."""
    if taint:
        line = Text(f"tainted: {', '.join(taint)}", style="yellow")
        branch.add(line.append(f"; {follows}" if follows else ""))


def _add_question(branch: Tree, case: StepCase, reviewed: "Sequence[Evidence[Reviewed]]") -> None:
    told = branch.add(Text(f"case {case.case_id} for {case.queue}, due {when(case.due_at_ms)}"))
    for found in reviewed:
        if found.message.case_id == case.case_id:
            told.add(_reviewed(found.message))


def _reviewed(reviewed: Reviewed) -> Text:
    verdict = reviewed.verdict
    line = Text(reviewed.result, style="bold")
    if verdict is not None:
        line.append(f": {verdict.verdict} by {verdict.by}", style="not bold")
        if verdict.comment:
            line.append(f", {verdict.comment}", style="not bold")
    return line.append(f"  {when(reviewed.at_ms)}", style="dim not bold")


def _add_corrections(tree: Tree, corrections: Sequence[Correction]) -> None:
    """Say what was tried where an answer did not pass, by checkpoint."""
    for at, found in groupby(corrections, key=lambda one: one.at):
        told = tree.add(Text(f"corrected at {at}"))
        for one in found:
            told.add(_correction(one))


def _correction(tried: Correction) -> Text:
    line = Text(f"attempt {tried.attempt}: {tried.remedy}", style="bold")
    line.append(f" against {', '.join(tried.failed)}", style="not bold")
    line.append(f", odds {_LIKELY.format(tried.odds)}", style="dim not bold")
    said = f"  {tried.result}" + (f": {tried.reason}" if tried.reason else "")
    line.append(said, style="not bold" if tried.result == "passed" else "yellow not bold")
    if tried.model:
        line.append(f"  {tried.model}, {tried.duration_ms:,} ms", style="dim not bold")
    if tried.cost_nano:
        line.append(f", {amount_text(tried.cost_nano, tried.currency)}", style="dim not bold")
    return line


def _add_ruled(tree: Tree, decision: Decision, rules: Sequence[Rule]) -> None:
    """Say what the answers came to: checks that did not pass, or the rule that held."""
    hit = next((rule for rule in rules if rule.reason == decision.reasons[0]), None)
    line = Text(f"{decision.outcome}  score {decision.score:.3f}  ")
    if hit is None:
        line.append(f"reserved for a person: {decision.reasons[0]}", style="yellow")
    else:
        line.append(f"rule: {hit.when or 'no other holds'}", style="dim")
    tree.add(line)


def _add_followed(tree: Tree, story: "Story") -> None:
    """Say what came of it: actions, the review and its verdict, what became known."""
    for acted in story.actions:
        tree.add(Text(f"action {acted.message.action}  {acted.message.action_id}"))
    for opened in story.cases:
        case = opened.message
        branch = tree.add(Text(f"review case {case.case_id} for {case.queue}"))
        for found in story.reviewed:
            if found.message.case_id == case.case_id:
                branch.add(_reviewed(found.message))
    for known in story.labels:
        label = known.message
        tree.add(Text(f"known since {when(label.label_time_ms)}: {label.label}"))
