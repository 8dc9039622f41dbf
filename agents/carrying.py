"""What actions carry: the value of a model, as it was checked, and the taint it brings along.

An action whose content is tainted does not act, whatever is said of the decision's score: the
taint becomes the decision's, and the one door to actions holds it. Content that is not there has
passed no check.
"""

from collections.abc import Sequence

from batuta.agents.concluded import ToldRows
from batuta.agents.verification.taint import Taint, Taints
from batuta.schemas.pipeline_rules import Rule

__all__ = ["carried_by"]


def carried_by(
    told: ToldRows, acting: Sequence[Rule | None], taint: Taints | None
) -> tuple[Sequence[object], list[int]]:
    """Return what the action of each row carries, and the taint of each; empty where none has.

    Args:
        told: the rows that are decided.
        acting: the rule of each that asks for an action.
        taint: of the answers that decide.
    """
    flags: list[int] = [] if taint is None else taint.tolist()
    carrying = [
        (place, rule.action_carries)
        for place, rule in enumerate(acting)
        if rule is not None and rule.action_carries is not None
    ]
    if not carrying:
        return [None] * len(acting), flags if any(flags) else []
    contents: list[object] = [None] * len(acting)
    flags = flags or [0] * len(acting)
    work, rows = told.question.work, told.rows.tolist()
    for place, model in carrying:
        answered = None if work is None else work.heard.told.get(model)
        if answered is not None:
            contents[place] = answered.values.get(rows[place])
            flags[place] |= int(answered.taint[rows[place]])
        if contents[place] is None:
            flags[place] |= int(Taint.FAILED_CHECK)
    return contents, flags if any(flags) else []
