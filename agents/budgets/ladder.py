"""The ladder: what happens as a budget is used up.

    warn      people are told
    cheaper   the cheapest candidate plan is followed
    sample    a share of the events is asked about, always the same ones
    queue     events wait until the window turns
    stop      no model is asked

Whatever a ladder says, it ends at its first `queue` or `stop`, or stops when all is used.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

__all__ = ["RUNGS", "Ladder", "Rung", "Step"]

Rung = Literal["warn", "cheaper", "sample", "queue", "stop"]
RUNGS: Final[tuple[Rung, ...]] = get_args(Rung)
_LAST: Final = frozenset(("queue", "stop"))


class Step(NamedTuple):
    """From which share of the limit on what happens."""

    share: float
    rung: Rung


@dataclass(frozen=True)
class Ladder:
    """The steps of one budget.

    Attributes:
        steps: by share, ascending.
        sample: which share of the events is asked about on the rung `sample`.
    """

    steps: tuple[Step, ...] = (Step(1.0, "stop"),)
    sample: float = 0.1

    def __post_init__(self) -> None:
        """Check that it climbs."""
        shares = [step.share for step in self.steps]
        assert shares == sorted(shares), "a ladder climbs; the compiler sorts it"

    @property
    def end(self) -> Step:
        """The step beyond which nothing is leased."""
        return next((step for step in self.steps if step.rung in _LAST), Step(1.0, "stop"))

    def cap_nano(self, limit_nano: int) -> int:
        """Return how much may be used of a limit."""
        return int(limit_nano * min(self.end.share, 1.0))

    def upto(self, rung: Rung | None) -> frozenset[Rung]:
        """Return everything that holds once a rung is reached."""
        if rung is None:
            return frozenset()
        share = next((step.share for step in self.steps if step.rung == rung), self.end.share)
        return frozenset((rung, *(step.rung for step in self.steps if step.share <= share)))

    def reached(self, used_nano: int, limit_nano: int) -> tuple[Step, ...]:
        """Return the steps that are reached, the last one holds.

        >>> Ladder((Step(0.8, "warn"), Step(1.0, "stop"))).reached(85, 100)
        (Step(share=0.8, rung='warn'),)
        """
        return tuple(step for step in self.all() if used_nano >= limit_nano * step.share)

    def rung(self, used_nano: int, limit_nano: int) -> str:
        """Return how far up it is, as `upto` takes it; empty below the first step.

        A rung that comes again, as a second warning does, adds nothing to those before it.

        >>> Ladder((Step(0.5, "warn"), Step(0.8, "cheaper"), Step(0.9, "warn"))).rung(95, 100)
        'cheaper'
        """
        reached = dict.fromkeys(step.rung for step in self.reached(used_nano, limit_nano))
        return next(reversed(reached), "")

    def all(self) -> tuple[Step, ...]:
        """Return the steps there are, up to the end."""
        end = self.end
        before = (s for s in self.steps if s.rung not in _LAST and s.share <= end.share)
        return (*before, end)
