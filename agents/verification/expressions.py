"""Rules in CEL that must hold of an answer; `contradiction` is how far models differ.

    "contradiction < 0.4"                    models that were asked about the same must agree
    "score < 0.9 || amount > 10.0"           a rule of one's own

What cannot be told of an answer, because a field is missing, does not hold.
"""

from collections.abc import Mapping

import numpy as np

from batuta.agents.models.answers import Scores
from batuta.agents.policy.expressions import Expression
from batuta.agents.verification.port import CheckBatch, Verdict

__all__ = ["CONTRADICTION", "RuleCheck", "contradiction_of"]

CONTRADICTION = "contradiction"


class RuleCheck:
    """Passes answers for which an expression is true."""

    def __init__(self, expression: Expression, reason: str | None = None) -> None:
        """Take the expression, and how its breach is called."""
        self.compares = CONTRADICTION in expression.names
        usual = "models_contradict" if self.compares else "rule_broken"
        self.reasons: tuple[str, ...] = (reason or usual,)
        self._expression = expression

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each answer whether the rule holds."""
        answer = self._expression.answer(batch.rows)
        holds = answer.values.astype(np.bool_)
        if answer.missing is not None:
            holds = holds & ~answer.missing
        codes = (~holds).astype(np.int8)
        if holds.all():
            return Verdict(codes)
        said = f"this must hold: {self._expression.text}"
        return Verdict(codes, dict.fromkeys(np.flatnonzero(~holds).tolist(), said))


def contradiction_of(compared: Mapping[str, Scores], rows: int) -> Scores:
    """Return how far the models of each event differ: the largest score less the smallest.

    Where only one has answered there is nothing to compare, and that is no agreement: NaN, for
    which no comparison holds.

    >>> contradiction_of({"a": np.array([0.9, 0.5]), "b": np.array([0.2, np.nan])}, 2).tolist()
    [0.7, nan]
    """
    if len(compared) < 2:  # noqa: PLR2004 - to compare takes two
        return np.full(rows, np.nan)
    scores = np.array(list(compared.values()))
    heard = np.isfinite(scores)
    most = np.where(heard, scores, -np.inf).max(axis=0)
    least = np.where(heard, scores, np.inf).min(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(heard.sum(axis=0) > 1, most - least, np.nan)
