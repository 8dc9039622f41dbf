"""Decide rules over a batch: the first that holds decides, what cannot be told goes to a person."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Flags, Names, Rows
from batuta.schemas.pipeline_rules import Rule

__all__ = ["SCORE_NAMES", "Policy", "Verdict"]

#: What every decide rule may name.
SCORE_NAMES: Final = Names({"score": "double"})
_FAILED: Final = -1


class Verdict(NamedTuple):
    """What became of a batch, one element per event.

    Attributes:
        rules: the rule that decided, None where none could be told.
    """

    rules: list[Rule | None]


class Policy:
    """The compiled decide rules of a pipeline.

    >>> from batuta.schemas.pipeline_rules import by_score
    >>> len(Policy(by_score(0.5, 0.9)).rules)
    3
    """

    def __init__(self, rules: Sequence[Rule], names: Names = SCORE_NAMES) -> None:
        """Compile the rules.

        Args:
            rules: in order; the last has no condition.
            names: what they may use.

        Raises:
            ExpressionError: one does not compile.
        """
        assert rules, "no rules"
        assert rules[-1].when is None, "the last rule must always hold"
        assert all(rule.when is not None for rule in rules[:-1]), "a rule after the last"
        self.rules = tuple(rules)
        self._conditions = [
            Expression(rule.when, names, ("bool",)) for rule in rules if rule.when is not None
        ]

    @property
    def names(self) -> frozenset[str]:
        """What the rules use."""
        return frozenset(name for one in self._conditions for name in one.names)

    def judge(self, rows: Rows) -> Verdict:
        """Return which rule decides each event.

        A rule that fails for an event decides it: nobody can say that the next one may.
        """
        deciding = np.full(len(rows), len(self._conditions), np.int64)
        undecided = np.ones(len(rows), np.bool_)
        for number, condition in enumerate(self._conditions):
            answer = condition.answer(rows)
            holds: Flags = answer.values.astype(np.bool_)
            if answer.missing is not None:
                _decide(deciding, undecided, answer.missing, _FAILED)
                holds = holds & ~answer.missing
            _decide(deciding, undecided, holds, number)
        told: list[Rule | None] = [*self.rules, None]
        return Verdict([told[number] for number in deciding.tolist()])


def _decide(deciding: npt.NDArray[np.int64], undecided: Flags, where: Flags, rule: int) -> None:
    now = where & undecided
    deciding[now] = rule
    undecided &= ~now
