"""Asking once more: what is worth it, after how long, and how much of it a model has to bear.

Waits grow twofold and are drawn from the whole of their range ("full jitter", M. Brooker,
Exponential Backoff and Jitter, 2015), so that callers which failed together do not return together.
The draw is a digest of the call's event, so that it repeats. Asking again and asking twice at once
(`hedging`) share one bucket of tokens, rows that may be asked once more: it fills by a tenth of the
rows that are asked a first time, so a model that fails altogether sees a tenth more load, not as
much again.
"""

from dataclasses import dataclass
from typing import Final

from batuta.agents.selection.choosing import draw
from batuta.schemas.errors import FailureKind

__all__ = ["EXTRA_SHARE", "RETRIABLE", "ExtraLoad", "RetryRule", "wait_ms"]

#: Of the rows a model is asked about, so many more may be asked once more.
EXTRA_SHARE: Final = 0.1
#: What may be otherwise the next time; another answer of the same model is none of it.
RETRIABLE: Final[frozenset[FailureKind]] = frozenset({"timeout", "unavailable", "overloaded"})
#: Rows that may be asked again before any were asked, so that a quiet model's first trouble is.
_AT_FIRST: Final = 10.0
#: As much as the bucket holds: what was saved up in a good hour is no licence for a flood.
_TOKENS_MAX: Final = 10_000.0
_WAIT_MS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a model is asked again.

    Attributes:
        times: at most, after the first.
        wait_ms: the longest wait before the first time; twice as long before each further one.
    """

    times: int = 2
    wait_ms: int = 50


def wait_ms(rule: RetryRule, retries: int, seed: str) -> int:
    """Return how long to wait before asking again.

    Args:
        rule: of the model.
        retries: how often it was asked again already.
        seed: names the call; the same seed waits as long.
    """
    longest_ms = min(rule.wait_ms * 2**retries, _WAIT_MS_MAX)
    return int(draw("retry", seed, str(retries)) * longest_ms)


class ExtraLoad:
    """The token bucket of one model: rows that may be asked about once more.

    Attributes:
        tokens: rows left.
    """

    def __init__(self, share: float = EXTRA_SHARE) -> None:
        """Begin with a few."""
        self._share = share
        self.tokens = _AT_FIRST

    def earn(self, rows: int) -> None:
        """Note rows that are asked a first time."""
        self.tokens = min(self.tokens + self._share * rows, _TOKENS_MAX)

    def spend(self, rows: int) -> bool:
        """Take the tokens for asking about rows once more; say whether there were enough."""
        if self.tokens < rows:
            return False
        self.tokens -= rows
        return True
