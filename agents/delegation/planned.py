"""Planners in the walk over a plan: what was proposed for each event is followed, as far as it may.

A planner is asked as any model is. What it answers is judged before anything of it is asked; the
plan of the file stands where the planner has no answer or may not be followed, and where what it
proposed came to no answer because a model failed. Where it may plan once more, it is asked first.
An answer that a checkpoint refused is not planned around: a person decides.

What was proposed is kept with what was answered, so that work goes on by it after it was parked.
"""

from collections.abc import Iterable

import numpy as np

from batuta.agents.delegation.heard import ANSWERED, FAILED, Heard
from batuta.agents.delegation.plans import (
    Ask,
    Cascade,
    Checked,
    Fallback,
    Node,
    Planned,
    Proposal,
    Proposes,
    Sequence,
    Steered,
    models_of,
)
from batuta.agents.delegation.reached import Flags, Reached
from batuta.agents.delegation.verifying import Walking
from batuta.agents.verification.trials import FAILED as REFUSED

__all__ = ["walk_planned"]


def walk_planned(walk: Walking, node: Planned | Steered, where: Flags) -> Reached:
    """Return what a planner's proposals, or one of them, have come to."""
    return _steered(walk, node, where) if isinstance(node, Steered) else _planned(walk, node, where)


def _planned(walk: Walking, node: Planned, where: Flags) -> Reached:
    """Return what proposals, and the plan of the file where they are not followed, have come to."""
    reached = Reached.nothing(len(where))
    going, left = where, np.zeros(len(where), np.bool_)
    for name in node.planner.turns:
        if not going.any():
            break
        said = walk.walk(Ask(name), going)
        heard = going & said.done
        left = left | heard
        going = np.zeros(len(where), np.bool_)
        for proposal, rows in _followed(walk.heard, node.planner, name, heard):
            part = walk.walk(proposal, rows)
            failing = rows & part.done & ~part.usable & ~_checked_out(walk.heard, proposal)
            reached.put(rows & ~failing, part)
            going = going | (failing & _failed(walk.heard, models_of(proposal)))
            left = left & ~(rows & ~failing)
        left = left & ~going
    left = left | going
    if left.any():
        walk.heard.proposals.unfollowed.update(np.flatnonzero(left).tolist())
        later = walk.walk(node.static, left)
        later.marked = np.ones(len(left), np.bool_)
        reached.put(left, later)
    return reached


def _steered(walk: Walking, node: Steered, where: Flags) -> Reached:
    """Return what a proposed plan has come to: whoever planned it had a say in what is asked."""
    reached = walk.walk(node.step, where)
    steered = ~_by_person(walk.heard, node.step)
    for name in node.planners:
        reached.taint = reached.taint | np.where(steered, walk.heard.of(name).taint, 0)
    reached.taint = reached.taint.astype(np.uint8)
    return reached


def _followed(
    heard: Heard, planner: Proposes, name: str, ready: Flags
) -> Iterable[tuple[Node, Flags]]:
    """Judge what a planner has said about some rows; return what may be followed, and where."""
    told, known = heard.of(name), heard.proposals.turn(name)
    found: dict[str, tuple[Node, list[int]]] = {}
    for row in np.flatnonzero(ready).tolist():
        proposal = known.get(row)
        if proposal is None:
            failed = told.failures.get(row, "broke") if told.state[row] == FAILED else ""
            proposal = Proposal(refused=failed) if failed else planner.judge(told.values.get(row))
            known[row] = proposal
            if not failed:
                # However long it was: this is kept where the event is parked.
                told.values[row] = proposal.kept
        if proposal.node is not None:
            found.setdefault(proposal.text, (proposal.node, []))[1].append(row)
    for node, rows in found.values():
        where = np.zeros(len(ready), np.bool_)
        where[rows] = True
        yield node, where


def _by_person(heard: Heard, node: Node) -> Flags:
    """Return the rows for which the answer of a plan is that of a person, who saw the event."""
    if isinstance(node, Ask) and node.person:
        return np.asarray(heard.of(node.model).state == ANSWERED)
    found = np.zeros(heard.rows, np.bool_)
    counting = node.steps[-1:] if isinstance(node, Sequence) else ()
    if isinstance(node, Cascade | Fallback | Checked):
        counting = node.steps
    for step in counting:
        found = found | _by_person(heard, step)
    return found


def _failed(heard: Heard, models: Iterable[str]) -> Flags:
    """Return the rows about which any of these has failed."""
    found = np.zeros(heard.rows, np.bool_)
    for name in dict.fromkeys(models):
        found |= heard.of(name).state == FAILED
    return found


def _checked_out(heard: Heard, node: Node) -> Flags:
    """Return the rows whose answer the checkpoint behind a whole plan has refused."""
    if not isinstance(node, Checked):
        return np.zeros(heard.rows, np.bool_)
    return np.asarray(heard.trials_of(node.checkpoint).state == REFUSED)
