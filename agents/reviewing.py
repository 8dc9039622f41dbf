"""Cases that escalation keeps: open until a verdict comes, or until the time for one is over.

Closed ones are kept as well, so that a second verdict is told from one for a case that never was.
A verdict may come before its case is read, as both come on topics of their own: it waits a little.
"""

from dataclasses import asdict
from typing import Final, Literal, NamedTuple, cast

from batuta.agents.state.codecs import JSON, TEXT, Codec, JsonValue
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.port import Tables
from batuta.schemas.review import Case, ReviewCase, Verdict

__all__ = ["CASES_MAX", "EARLY_MAX", "EscalationState", "KeptCase", "kept_of"]

_DAY_MS: Final = 86_400_000
#: The bounds of one lane. Beyond them a decision's case is not remembered, and a step's answered at
#: once: nobody could look at so many.
CASES_MAX: Final = 100_000
EARLY_MAX: Final = 10_000
_CASES_KEPT_MS: Final = 30 * _DAY_MS


class KeptCase(NamedTuple):
    """What escalation must know of a case.

    Attributes:
        stands: `open` until a verdict comes, or the time for one is over.
        asked, step_id, partition: of a step's case; empty for a decision's.
    """

    stands: Literal["open", "answered", "expired"]
    opened_at_ms: int
    due_at_ms: int
    tenant: str
    event_id: str
    asked: str = ""
    step_id: str = ""
    partition: int = 0


class EscalationState(Tables):
    """What escalation remembers: cases, and verdicts that came before theirs."""

    def __init__(self) -> None:
        codec = Codec(TEXT, JSON)
        self._cases = KeyedTable(
            b"c", codec, "review cases", entries_max=CASES_MAX, ttl_ms=_CASES_KEPT_MS
        )
        self._early = KeyedTable(
            b"e", codec, "early verdicts", entries_max=EARLY_MAX, ttl_ms=_DAY_MS
        )
        super().__init__((self._cases, self._early))

    @property
    def full(self) -> bool:
        """Whether there is no room for another case."""
        return len(self._cases) >= CASES_MAX

    @property
    def early_full(self) -> bool:
        """Whether there is no room for another verdict that came before its case."""
        return len(self._early) >= EARLY_MAX

    def case(self, case_id: str) -> KeptCase | None:
        """Return what is known of a case, or None."""
        kept = self._cases.get(case_id)
        return None if kept is None else KeptCase(*cast("list[object]", kept))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def keep(self, case_id: str, case: KeptCase) -> None:
        """Remember a case."""
        self._cases.put(case_id, cast("JsonValue", list(case)))

    def wait(self, verdict: Verdict) -> bool:
        """Keep a verdict until its case comes; say whether there was none yet."""
        if verdict.case_id in self._early:
            return False
        self._early.put(verdict.case_id, cast("JsonValue", asdict(verdict)))
        return True

    def take_early(self, case_id: str) -> Verdict | None:
        """Take out the verdict that came before its case, or None."""
        found = self._early.get(case_id)
        if found is None:
            return None
        self._early.delete(case_id)
        return Verdict(**cast("dict[str, object]", found))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def kept_of(case: Case) -> KeptCase:
    """Return what to remember of a case that is opened."""
    if isinstance(case, ReviewCase):
        decision = case.decision
        return KeptCase(
            "open", case.opened_at_ms, case.due_at_ms, decision.tenant, decision.event_id
        )
    return KeptCase(
        "open",
        case.opened_at_ms,
        case.due_at_ms,
        case.tenant,
        case.event_id,
        case.asked,
        case.step_id,
        case.partition,
    )
