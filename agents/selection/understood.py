"""Plans that are chosen by what a model has said of each event; that model is asked first.

Whoever understands is asked as any model is. Then rules see its answer: `NAME.score`,
`NAME.confidence`, and fields of its value, `NAME.value.FIELD`. Where it has no answer these are
missing, and a rule that needs one cannot be answered. A plan is chosen once, and kept with what was
answered: an event that is parked goes on by the plan that it began with.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import numpy as np

from batuta.agents.delegation.heard import ANSWERED, FAILED, Heard, Indexes, Told
from batuta.agents.delegation.plans import Ask, Node
from batuta.agents.delegation.reached import Flags
from batuta.agents.delegation.verifying import Walking
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.names import Column
from batuta.agents.selection.choosing import UNANSWERABLE
from batuta.schemas.decision import Selection

__all__ = ["PARTS", "Choose", "Understood", "explained", "give_answers"]

#: The numbers of an answer that rules see, by the name that each has behind the model's.
PARTS: Final = ("score", "confidence")
#: Chooses the plans of some rows, by what was heard.
Choose = Callable[[Heard, Indexes], Sequence[Selection]]


class Understood:
    """The plans of the events of one question, each chosen once its event is understood.

    Attributes:
        unanswered: (rows,) for which a rule could not be answered, as the model had no answer.
    """

    def __init__(
        self,
        model: str,
        choices: list[Selection | None],
        choose: Choose,
        node_of: Callable[[Selection], Node],
    ) -> None:
        """Begin with nothing placed.

        Args:
            model: that understands.
            choices: of each event, None where it is still to be made; filled in here.
            choose: makes them.
            node_of: the plan that a choice means.
        """
        self.unanswered = np.zeros(len(choices), np.bool_)
        self._model = model
        self._choices = choices
        self._choose = choose
        self._node_of = node_of
        self._parts: list[tuple[Node, Flags]] = []
        #: Which events have begun to follow a plan.
        self._placed = np.zeros(len(choices), np.bool_)

    def followed(self, walk: Walking, where: Flags) -> Sequence[tuple[Node, Flags]]:
        """Choose the plans of rows that are understood now; return all that are followed."""
        # A remedy may put its answer aside: whose plan is chosen needs it for that no more.
        left = where & ~self._placed
        if left.any():
            fresh = np.flatnonzero(left & walk.walk(Ask(self._model), left).done)
            self._fill(walk.heard, fresh)
            self._placed[fresh] = True
        return self._parts

    def _fill(self, heard: Heard, rows: Indexes) -> None:
        """Place rows behind their plans, those chosen now that were not before."""
        left = [row for row in rows.tolist() if self._choices[row] is None]
        made = self._choose(heard, np.array(left, np.intp)) if left else ()
        for row, choice in zip(left, made, strict=True):
            self._choices[row] = choice
        failed = heard.of(self._model).state == FAILED
        for row in rows.tolist():
            choice = self._choices[row]
            assert choice is not None, "chosen just now"
            self._place(self._node_of(choice), row)
            self.unanswered[row] = failed[row] and choice.reason.startswith(UNANSWERABLE)

    def _place(self, node: Node, row: int) -> None:
        for known, where in self._parts:
            if known is node:
                where[row] = True
                return
        where = np.zeros(len(self._choices), np.bool_)
        where[row] = True
        self._parts.append((node, where))


def give_answers(rows: EventRows, model: str, told: Told, at: Indexes) -> None:
    """Let rules see what a model has answered about some events, which `rows` are.

    A value that is no mapping has no fields.
    """
    missing = told.state[at] != ANSWERED
    for part, column in zip(PARTS, (told.scores, told.confidence), strict=True):
        rows.give(f"{model}.{part}", Column(column[at], missing))
    values = np.empty(len(at), np.object_)
    for place, row in enumerate(at.tolist()):
        value = told.values.get(row)
        values[place] = cast("object", value) if isinstance(value, Mapping) else {}
    rows.give(f"{model}.value", Column(values, missing))


def explained(
    choices: Sequence[Selection], model: str, told: Told, at: Indexes
) -> Sequence[Selection]:
    """Return choices about some events, and why rules could not be answered about them."""
    if not (told.state[at] != ANSWERED).any():
        return choices
    found = list(choices)
    for place, row in enumerate(at.tolist()):
        if found[place].reason == UNANSWERABLE and told.state[row] != ANSWERED:
            why = told.failures.get(row, "late")
            found[place] = found[place]._replace(reason=f"{UNANSWERABLE}: {model} {why}")
    return found
