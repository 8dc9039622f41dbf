"""What a model's guard does: breakers that change, calls that are made again or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from batuta.agents.delegation.breaker import BreakerState
    from batuta.streams.telemetry.facts import Scribe

__all__ = ["ATTEMPTS", "Attempt", "AttemptMade", "BreakerChanged"]

Attempt = Literal["first", "retry", "hedge", "cancelled", "no_budget", "no_place", "breaker_open"]
ATTEMPTS: Final[tuple[Attempt, ...]] = get_args(Attempt)
_HEIGHTS: Final[dict[BreakerState, int]] = {"closed": 0, "half_open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class AttemptMade:
    """A call was made, made again, let go of, or not made."""

    model: str
    attempt: Attempt

    def tell(self, scribe: Scribe) -> None:
        """Count it."""
        scribe.meters.model_attempts(self.model).add(1, self.attempt)


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker is in another state; in its first where there was none before."""

    model: str
    state: BreakerState
    before: BreakerState | None

    def tell(self, scribe: Scribe) -> None:
        """Show it, and say it: a model that is left alone is worth a look."""
        scribe.meters.breaker_state(self.model).set(_HEIGHTS[self.state])
        if self.before is None:
            for state in _HEIGHTS:
                scribe.meters.breaker_transitions.add(0, self.model, state)
            return
        scribe.meters.breaker_transitions.add(1, self.model, self.state)
        say = scribe.log.warning if self.state == "open" else scribe.log.info
        say("breaker_changed", model=self.model, state=self.state, before=self.before)
