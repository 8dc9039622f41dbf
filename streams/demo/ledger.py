"""Who is still awaited: each identity published must come back exactly once.

    ledger = Ledger()
    ledger.expect("tx-1", 1_000)
    ledger.arrive("tx-1", 1_012)      # 12: its age in milliseconds
    ledger.arrive("tx-1", 1_020)      # None, and ledger.duplicated == 1
    ledger.awaited                    # 0: what is never answered is lost

Memory is bounded: of what came back, the last `remembered_max` identities are known, so that a
demonstration can run for days; a duplicate that comes later than that is taken for a stranger's.
"""

from itertools import islice
from typing import Final

__all__ = ["Ledger"]

_REMEMBERED_MAX: Final = 1_000_000
_EXAMPLES_MAX: Final = 10


class Ledger:
    """Counts what was published against what came back.

    Attributes:
        expected: how many identities were published.
        arrived: how many of them came back, each counted once.
        duplicated: how many came back once more.
        strangers: how many came back that were never published here.
    """

    def __init__(self, remembered_max: int = _REMEMBERED_MAX) -> None:
        self.expected = 0
        self.arrived = 0
        self.duplicated = 0
        self.strangers = 0
        self._doubles: list[str] = []
        self._awaited: dict[str, int] = {}
        self._remembered: dict[str, None] = {}
        self._remembered_max = remembered_max

    @property
    def awaited(self) -> int:
        """How many have not come back: at the end of a run, how many are lost."""
        return len(self._awaited)

    def examples(self) -> tuple[list[str], list[str]]:
        """Return a few of those that have not come back, and a few that came back twice."""
        return list(islice(self._awaited, _EXAMPLES_MAX)), list(self._doubles)

    def expect(self, identity: str, published_ms: int) -> None:
        """Note that `identity` goes out at `published_ms`, before it does."""
        assert identity not in self._awaited, identity
        assert identity not in self._remembered, identity
        self._awaited[identity] = published_ms
        self.expected += 1

    def arrive(self, identity: str, now_ms: int) -> int | None:
        """Note that `identity` came back; return its age in ms, None where it was not awaited."""
        published_ms = self._awaited.pop(identity, None)
        if published_ms is not None:
            self.arrived += 1
            self._remember(identity)
            return max(0, now_ms - published_ms)
        if identity in self._remembered:
            self.duplicated += 1
            if len(self._doubles) < _EXAMPLES_MAX:
                self._doubles.append(identity)
        else:
            self.strangers += 1
        return None

    def _remember(self, identity: str) -> None:
        if len(self._remembered) >= self._remembered_max:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[identity] = None
