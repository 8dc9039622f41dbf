"""Choosers: one plan per event, with the propensity it was chosen with and the reason why.

`Weighted` draws by weight, from the candidates that the first rule that holds leaves. The draw is a
digest of pipeline, version, tenant and event id, so a retry or a replay chooses the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import numpy as np

from batuta.agents.policy.event_rows import EventRows
from batuta.agents.policy.expressions import Expression
from batuta.schemas.decision import Selection
from batuta.schemas.ingested import Ingested

__all__ = ["UNANSWERABLE", "Chooser", "Narrowing", "Only", "Weighted", "draw"]

_RANGE: Final = 2**64
#: Why the plan to fall back on stands where a rule before any that holds has no answer.
UNANSWERABLE: Final = "a rule could not be answered"


class Chooser(Protocol):
    """Picks plans.

    Attributes:
        names: the fields and features it looks at.
    """

    names: frozenset[str]

    def choose(self, events: Sequence[Ingested], rows: EventRows) -> Sequence[Selection]:
        """Return one choice per event; `rows` holds what `names` names."""
        ...


class Only:
    """Picks the one plan there is."""

    names: frozenset[str] = frozenset()

    def __init__(self, plan: str) -> None:
        """Take its name."""
        self._choice = Selection(plan, "only", "there is no other plan", 1.0, {plan: 1.0})

    def choose(self, events: Sequence[Ingested], rows: EventRows) -> Sequence[Selection]:
        """Return one choice per event."""
        del rows
        return [self._choice] * len(events)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Where `when` holds, only plans of `among` may be chosen."""

    when: Expression
    among: tuple[str, ...]


class Weighted:
    """Draws by weight among the candidates that rules leave."""

    def __init__(
        self, identity: str, weights: Mapping[str, float], rules: Sequence[Narrowing]
    ) -> None:
        """Prepare the draws.

        Args:
            identity: what choices repeat by, beside the event: pipeline and version.
            weights: of every candidate; more than 0 in sum, also of those that a rule leaves.
            rules: in order.
        """
        self.names = frozenset(name for rule in rules for name in rule.when.names)
        self._identity = identity
        self._rules = rules
        everything = _draws(weights, tuple(weights), "weights", "no rule narrows")
        # The plan to fall back on: one that weighs nothing is never chosen.
        first = tuple(plan for plan, weight in weights.items() if weight > 0)[:1]
        #: What stands where no rule holds, where each does, and where one failed.
        self._draws = (
            everything,
            *(_draws(weights, rule.among, "rules", f"{rule.when.text} holds") for rule in rules),
            _draws(weights, first, "rules", UNANSWERABLE),
        )

    def choose(self, events: Sequence[Ingested], rows: EventRows) -> Sequence[Selection]:
        """Return one choice per event."""
        places = self._places(len(events), rows)
        return [
            self._draws[place].at(self._identity, event)
            for event, place in zip(events, places, strict=True)
        ]

    def _places(self, count: int, rows: EventRows) -> list[int]:
        """Return which rule is the first that holds, 0 for none, -1 where one failed before."""
        places = np.zeros(count, np.intp)
        open_ = np.ones(count, np.bool_)
        for number, rule in enumerate(self._rules, 1):
            answer = rule.when.answer(rows)
            if answer.missing is not None:
                places[open_ & answer.missing] = -1
                open_ &= ~answer.missing
            holds = open_ & answer.values.astype(np.bool_)
            places[holds] = number
            open_ &= ~holds
        found: list[int] = places.tolist()
        return found


@dataclass(frozen=True, slots=True)
class _Draws:
    """The choices among some candidates, and up to which draw each is taken."""

    choices: tuple[Selection, ...]
    ends: tuple[float, ...]

    def at(self, identity: str, event: Ingested) -> Selection:
        if len(self.choices) == 1:
            return self.choices[0]
        drawn = draw(identity, event.tenant, event.event_id)
        for choice, end in zip(self.choices, self.ends, strict=True):
            if drawn < end:
                return choice
        return self.choices[-1]


def draw(*parts: str) -> float:
    """Return a number from 0 up to 1 that looks random and is a function of `parts`.

    >>> draw("fraud", "tx-1") == draw("fraud", "tx-1") != draw("fraud", "tx-2")
    True
    """
    digest = sha256("\x00".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE


def _draws(weights: Mapping[str, float], among: tuple[str, ...], by: str, reason: str) -> _Draws:
    total = sum(weights[plan] for plan in among)
    assert total > 0, f"the weights of {among} are nothing; refused by the compiler"
    candidates = {plan: weights[plan] / total for plan in among}
    taken = [plan for plan in among if weights[plan] > 0]
    ends = np.cumsum([candidates[plan] for plan in taken]).tolist()
    choices = tuple(Selection(p, by, reason, candidates[p], candidates) for p in taken)
    return _Draws(choices, tuple(ends))
