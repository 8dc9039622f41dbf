"""What has helped lately: how often each remedy was tried and passed, by class of failure.

One small table per lane, written in the batch whose decisions say so. What was skipped counts for
nothing. Models, texts and policies change, so what is counted fades: half of it is left after
`HALF_LIFE_MS` by the lane's clock, and what nobody tried for a year is dropped. What the table
holds equals a recount of the corrections in the lane's decision records, each faded by its age.

The odds of a remedy are the mean of a beta distribution with a prior of as many successes as
failures, which a few attempts outweigh: (passed + 2) / (tried + 4). With counts that fade it is the
posterior of discounted Thompson sampling (V. Raj and S. Kalyani, Taming Non-stationary Bandits: A
Bayesian Approach, 2017), whose discount is that of discounted UCB (L. Kocsis and C. Szepesvari,
Discounted UCB, 2006; A. Garivier and E. Moulines, On Upper-Confidence Bound Policies for Switching
Bandit Problems, 2011): a remedy that is not tried any more comes back to even odds, and is tried
again. Those discount by the round; here a round is a moment of the clock, for failures come seldom
and unevenly.

State, a table with a time to live, by checkpoint, class and remedy: tried and passed (8 bytes each,
floating), and as of when (8, signed). Values of 16 bytes, two whole numbers, are from before counts
faded: they count as of the moment when they are first added to.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.verification.remedies import Odds
from batuta.schemas.decision import Decision

__all__ = ["HALF_LIFE_MS", "SUCCESS_TAG", "Success", "Tally", "key_of", "tallies_of"]

#: Under which it stands in the changelog.
SUCCESS_TAG: Final = b"+"
#: After so long half of what was counted is left: thirty days.
HALF_LIFE_MS: Final = 30 * 86_400_000
#: What nobody tried for so long is dropped: a five-thousandth of it is left.
_KEPT_MS: Final = 365 * 86_400_000
_ENTRIES_MAX: Final = 100_000
_PRIOR_PASSED: Final = 2
_PRIOR_TRIED: Final = 4
#: Stands in no name of a checkpoint, a reason or a remedy.
_BETWEEN: Final = "/"
_UNFADED: Final = struct.Struct(">QQ")


class Tally(NamedTuple):
    """How often a remedy was tried against a class of failure, and how often its answer passed.

    Attributes:
        tried, passed: as far as they have not faded.
        at_ms: as of when; 0 where nobody has said.
    """

    tried: float
    passed: float
    at_ms: int = 0

    @property
    def odds(self) -> float:
        """How likely it helps the next time.

        >>> Tally(0, 0).odds, Tally(6, 6).odds
        (0.5, 0.8)
        """
        return (self.passed + _PRIOR_PASSED) / (self.tried + _PRIOR_TRIED)

    def at(self, now_ms: int) -> "Tally":
        """Return what is left of it by now; a clock that jumps back finds it as it is.

        >>> Tally(8, 4, at_ms=1_000).at(1_000 + 2 * HALF_LIFE_MS)[:2]
        (2.0, 1.0)
        """
        if not self.at_ms:
            return self._replace(at_ms=now_ms)
        if now_ms <= self.at_ms:
            return self
        left = 0.5 ** ((now_ms - self.at_ms) / HALF_LIFE_MS)
        return Tally(self.tried * left, self.passed * left, now_ms)

    def plus(self, other: "Tally") -> "Tally":
        """Return both together, as of the later."""
        at_ms = max(self.at_ms, other.at_ms)
        one, two = self.at(at_ms), other.at(at_ms)
        return Tally(one.tried + two.tried, one.passed + two.passed, at_ms)


class _TallyEncoding(Packed[Tally]):
    """A tally as it is written now; reads those from before they faded as well."""

    def __init__(self) -> None:
        super().__init__(">ddq", Tally)

    def decode(self, raw: bytes, /) -> Tally:
        return Tally(*_UNFADED.unpack(raw)) if len(raw) == _UNFADED.size else super().decode(raw)


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
        self.table: KeyedTable[str, Tally] = KeyedTable(
            SUCCESS_TAG,
            Codec(TEXT, _TallyEncoding()),
            "remedies",
            entries_max=_ENTRIES_MAX,
            ttl_ms=_KEPT_MS,
        )

    def odds_at(self, now_ms: int) -> Odds:
        """Return what says how likely a remedy helps, by now."""
        return partial(self._odds, now_ms)

    def _odds(self, now_ms: int, at: str, reason: str, remedy: str) -> float:
        return (self.table.get(key_of(at, reason, remedy)) or _NOTHING).at(now_ms).odds

    def take(self, decisions: Iterable[Decision]) -> None:
        """Count what decisions say of remedies, within the open batch."""
        for key, tally in tallies_of(decisions):
            known = self.table.get(key)
            self.table.put(key, tally if known is None else known.plus(tally))


def tallies_of(decisions: Iterable[Decision]) -> Iterator[tuple[str, Tally]]:
    """Yield what decisions say of remedies, by key, each key once, as of the last one's time."""
    found: dict[str, Tally] = {}
    for decision in decisions:
        for one in decision.corrections:
            if one.result != "skipped":
                key = key_of(one.at, one.failed[0], one.remedy)
                tally = Tally(1, one.result == "passed", decision.decided_at_ms)
                known = found.get(key)
                found[key] = tally if known is None else known.plus(tally)
    yield from found.items()
