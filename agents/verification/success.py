"""What has helped so far: how often each remedy was tried and passed, by class of failure.

One small table per lane, written in the batch whose decisions say so: what it holds equals a
recount of the corrections in the lane's decision records. What was skipped counts for nothing.

The odds of a remedy are the mean of a beta distribution with a prior of as many successes as
failures, which a few attempts outweigh: (passed + 2) / (tried + 4).
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.schemas.decision import Decision

__all__ = ["SUCCESS_TAG", "Success", "Tally", "key_of", "tallies_of"]

#: Under which it stands in the changelog.
SUCCESS_TAG: Final = b"+"
_ENTRIES_MAX: Final = 100_000
_PRIOR_PASSED: Final = 2
_PRIOR_TRIED: Final = 4
#: Stands in no name of a checkpoint, a reason or a remedy.
_BETWEEN: Final = "/"


class Tally(NamedTuple):
    """How often a remedy was tried against a class of failure, and how often its answer passed."""

    tried: int
    passed: int

    @property
    def odds(self) -> float:
        """How likely it helps the next time.

        >>> Tally(0, 0).odds, Tally(6, 6).odds
        (0.5, 0.8)
        """
        return (self.passed + _PRIOR_PASSED) / (self.tried + _PRIOR_TRIED)


_NOTHING: Final = Tally(0, 0)


def key_of(at: str, reason: str, remedy: str) -> str:
    """Return the key of one remedy against one class of failure at one checkpoint."""
    return _BETWEEN.join((at, reason, remedy))


class Success:
    """The tallies of one lane.

    Attributes:
        table: its state.
    """

    def __init__(self) -> None:
        """Begin with nothing known."""
        codec = Codec(TEXT, Packed(">QQ", Tally))
        self.table: KeyedTable[str, Tally] = KeyedTable(
            SUCCESS_TAG, codec, "remedies", entries_max=_ENTRIES_MAX
        )

    def odds(self, at: str, reason: str, remedy: str) -> float:
        """Return how likely a remedy helps."""
        return (self.table.get(key_of(at, reason, remedy)) or _NOTHING).odds

    def take(self, decisions: Iterable[Decision]) -> None:
        """Count what decisions say of remedies, within the open batch."""
        for key, tally in tallies_of(decisions):
            known = self.table.get(key) or _NOTHING
            self.table.put(key, Tally(known.tried + tally.tried, known.passed + tally.passed))


def tallies_of(decisions: Iterable[Decision]) -> Iterator[tuple[str, Tally]]:
    """Yield what decisions say of remedies, by key, each key once."""
    found: dict[str, Tally] = {}
    for decision in decisions:
        for one in decision.corrections:
            if one.result != "skipped":
                key = key_of(one.at, one.failed[0], one.remedy)
                known = found.get(key, _NOTHING)
                found[key] = Tally(known.tried + 1, known.passed + (one.result == "passed"))
    yield from found.items()
