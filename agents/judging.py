"""The last layer of the conductor: from verified answers to an outcome per event, and its reason.

    unusable       the model gave no usable answer
    feature_failed an expression or a part could not tell a feature that counts
    (check)        the answer did not pass a checkpoint
    rule_failed    a rule could not be answered before one held
    (rule)         the first rule that holds

All but the last mean that a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from batuta.agents.delegation.delegating import Delegating
from batuta.agents.models.port import Scores
from batuta.agents.policy.event_rows import EventRows, feature_column
from batuta.agents.policy.names import Column, Flags, Kind, Names
from batuta.agents.policy.rules import Policy
from batuta.agents.reasons import (
    BUDGET_SPENT,
    FEATURE_FAILED,
    MODEL_FAILED,
    MODEL_LATE,
    RULE_FAILED,
)
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.isolation import DIRECT, Isolation
from batuta.agents.understanding.steps import Understanding
from batuta.agents.verification.taint import Taint, Taints
from batuta.schemas.decision import Outcome
from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline_rules import Rule

__all__ = ["SCORE_UNKNOWN", "Deciding", "Judge", "Judged", "Verified"]

#: What a decision's score reads where the model gave none: unknown risk counts as the highest.
ScalarT = TypeVar("ScalarT", bound=np.generic)

SCORE_UNKNOWN: Final = 1.0
_REVIEW: Final[Outcome] = "review"


@dataclass(frozen=True, slots=True)
class Verified:
    """Scores, which of them are usable, and the reason of those that are not.

    Attributes:
        broke: where the model failed; the others of the unusable have `reason`.
        late: where time ran out before it answered.
        refused: the rows that a checkpoint did not let pass, and the reason of each.
        taint: (rows,) what may be wrong with the answers; None: nothing.
        unpaid: where a budget had nothing left for it.
    """

    scores: Scores
    usable: npt.NDArray[np.bool_]
    reason: str
    broke: npt.NDArray[np.bool_] | None = None
    late: npt.NDArray[np.bool_] | None = None
    refused: Mapping[int, str] = field(default_factory=dict[int, str])
    taint: Taints | None = None
    unpaid: npt.NDArray[np.bool_] | None = None

    @classmethod
    def unusable(cls, rows: int, reason: str) -> "Verified":
        """Return what stands for answers that there are none of."""
        return cls(np.full(rows, SCORE_UNKNOWN), np.zeros(rows, np.bool_), reason)

    def aged(self, stale: Flags | None) -> "Verified":
        """Return the same, where features were too old tainted by that."""
        if stale is None or not stale.any():
            return self
        before = np.zeros(len(stale), np.uint8) if self.taint is None else self.taint
        label = np.where(stale, int(Taint.STALE_FEATURE), 0).astype(np.uint8)
        return replace(self, taint=before | label)

    def at(self, places: npt.NDArray[np.int64]) -> "Verified":
        """Return some rows."""
        given = self.refused
        refused = {n: given[row] for n, row in enumerate(places.tolist()) if row in given}
        return Verified(
            self.scores[places],
            self.usable[places],
            self.reason,
            _some(self.broke, places),
            _some(self.late, places),
            refused,
            _some(self.taint, places),
            _some(self.unpaid, places),
        )


def _some(
    told: npt.NDArray[ScalarT] | None, places: npt.NDArray[np.int64]
) -> npt.NDArray[ScalarT] | None:
    return None if told is None else told[places]


@dataclass(frozen=True)
class Deciding:
    """What a compiled pipeline brings to the conductor beside its windows.

    Attributes:
        understanding: computes the further features.
        names: what decide rules may use; None for the score and every feature as a number.
        isolation: how parts of the user's own are called.
        delegating: which models are asked; None for the one model there is.
    """

    understanding: Understanding = field(default_factory=Understanding)
    names: Names | None = None
    isolation: Isolation = DIRECT
    delegating: Delegating | None = None


class Judged(NamedTuple):
    """The outcome of each event.

    Attributes:
        rules: which decided it, None where none could.
    """

    scores: list[float]
    outcomes: list[Outcome]
    reasons: list[str]
    rules: list[Rule | None]


class Judge:
    """Judges batches for one pipeline and one model.

    Attributes:
        columns: the features it must be given, in order: the model's inputs, then those that only
            rules use.
    """

    def __init__(self, rules: Sequence[Rule], deciding: Deciding, inputs: Sequence[str]) -> None:
        """Compile the rules.

        Args:
            rules: of the pipeline.
            deciding: what they may name.
            inputs: the model's.

        Raises:
            ExpressionError: a rule does not compile.
        """
        understanding = deciding.understanding
        kinds: dict[str, Kind] = {**dict.fromkeys(inputs, "double"), "score": "double"}
        names = deciding.names or Names(kinds)
        self._kinds = names.kinds
        self._policy = Policy(rules, names)
        plain = {*understanding.fields, "score"}
        delegating = deciding.delegating
        asked = delegating.chooser.names | delegating.checked if delegating else frozenset[str]()
        used = (self._policy.names | asked) & names.kinds.keys()
        further = sorted(used - {*inputs} - plain)
        self.columns = (*inputs, *further)
        self._inputs = len(inputs)
        self._fields = understanding.fields
        self._time_field = understanding.time_field
        told = {name for step in understanding.steps for name in step.names}
        self._told = [place for place, name in enumerate(self.columns) if name in told]

    def judge(self, events: Sequence[Ingested], features: Features, verified: Verified) -> Judged:
        """Return the outcome of each event.

        Args:
            events: in order.
            features: (events, self.columns).
            verified: what the model answered.
        """
        assert features.shape == (len(events), len(self.columns)), features.shape
        rows = self.rows(events, features)
        rows.give("score", Column(verified.scores))
        rules = self._policy.judge(rows).rules
        firsts = self._reservations(features, verified)
        decided = [rule if not reason else None for rule, reason in zip(rules, firsts, strict=True)]
        return Judged(
            scores=verified.scores.tolist(),
            outcomes=[_REVIEW if rule is None else rule.outcome for rule in decided],
            reasons=[
                reason or RULE_FAILED if rule is None else rule.reason
                for rule, reason in zip(decided, firsts, strict=True)
            ],
            rules=decided,
        )

    def told(self, features: Features) -> Features:
        """Return what models and checks are shown: 0 where an expression or a part told nothing.

        A person decides about such an event whatever is answered, and what cannot take a NaN must
        not fail its neighbours over it.
        """
        shown = features[:, : self._inputs].copy()
        places = [place for place in self._told if place < self._inputs]
        shown[:, places] = np.nan_to_num(shown[:, places], nan=0.0, posinf=np.inf, neginf=-np.inf)
        return shown

    def rows(self, events: Sequence[Ingested], features: Features) -> EventRows:
        """Return events as expressions see them."""
        rows = EventRows(events, self._fields, self._time_field)
        for name, values in zip(self.columns, features.T, strict=True):
            if name not in self._fields:
                rows.give(name, feature_column(values, self._kinds.get(name, "double")))
        return rows

    def _reservations(self, features: Features, verified: Verified) -> list[str]:
        """Return why a person must decide, empty where the rules may."""
        reasons = [""] * len(features)
        passed = verified.usable
        for row, reason in verified.refused.items():
            if not passed[row]:
                reasons[row] = reason
        if verified.unpaid is not None:
            _reserve(reasons, verified.unpaid, BUDGET_SPENT)
        if verified.late is not None:
            _reserve(reasons, verified.late, MODEL_LATE)
        if verified.broke is not None:
            _reserve(reasons, verified.broke, MODEL_FAILED)
        _reserve(reasons, ~passed, verified.reason)
        if self._told:
            untold: Flags = np.isnan(features[:, self._told]).max(axis=1, initial=False)
            _reserve(reasons, untold, FEATURE_FAILED)
        return reasons


def _reserve(reasons: list[str], where: Flags, reason: str) -> None:
    for row in np.flatnonzero(where).tolist():
        reasons[row] = reasons[row] or reason
