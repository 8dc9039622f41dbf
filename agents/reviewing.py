"""Cases that escalation keeps: open until a verdict comes, or until the time for one is over.

Closed ones are kept as well, so that a second verdict is told from one for a case that never was.
A verdict may come before its case is read, as both come on topics of their own: it waits a little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final, Literal, NamedTuple, cast

from batuta.agents.open_cases import CaseQueues, OpenCases
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
        queue: whose case it is; empty for one kept before this was written down.
    """

    stands: Literal["open", "answered", "expired"]
    opened_at_ms: int
    due_at_ms: int
    tenant: str
    event_id: str
    asked: str = ""
    step_id: str = ""
    partition: int = 0
    queue: str = ""


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
        #: Follows the cases; None where they are to be read through first.
        self._queues: CaseQueues | None = None

    def rollback(self) -> None:
        """Forget the open batch on every table."""
        super().rollback()
        self._queues = None

    def load(self, key: bytes, value: bytes | None) -> None:
        """Hand one changelog record to the table it belongs to.

        Raises:
            StateCorruptError: no table has this tag.
        """
        super().load(key, value)
        self._queues = None

    def load_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Hand many changelog records to the tables they belong to, in order for each table.

        Raises:
            StateCorruptError: no table has one's tag, or a table does not know one.
        """
        super().load_many(keys, values)
        self._queues = None

    def open_cases(self) -> Mapping[str, OpenCases]:
        """Return what waits for a verdict, by queue."""
        if self._queues is None:
            self._queues = CaseQueues()
            for case_id, kept in self._cases.items():
                _note(self._queues, case_id, _kept_case(kept))
        return self._queues.open_cases(self._cases.__contains__)

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
        return None if kept is None else _kept_case(kept)

    def keep(self, case_id: str, case: KeptCase) -> None:
        """Remember a case."""
        self._cases.put(case_id, cast("JsonValue", list(case)))
        if self._queues is not None:
            _note(self._queues, case_id, case)

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


def _kept_case(kept: JsonValue) -> KeptCase:
    return KeptCase(*cast("list[object]", kept))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def _note(queues: CaseQueues, case_id: str, case: KeptCase) -> None:
    queues.note(case_id, case.queue, case.opened_at_ms, waits=case.stands == "open")


def kept_of(case: Case) -> KeptCase:
    """Return what to remember of a case that is opened."""
    if isinstance(case, ReviewCase):
        decision = case.decision
        return KeptCase(
            "open",
            case.opened_at_ms,
            case.due_at_ms,
            decision.tenant,
            decision.event_id,
            queue=case.queue,
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
        case.queue,
    )
