"""What happened in one rehearsal: faults by kind, and what should not have been."""

from collections import Counter
from dataclasses import dataclass, field

from batuta.streams.rehearsal.plan import FaultKind
from batuta.streams.rehearsal.trace import Trace

__all__ = ["Happenings", "Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was not kept.

    Attributes:
        invariant: its name.
        detail: what was found, and what was promised.
    """

    invariant: str
    detail: str


@dataclass
class Happenings:
    """Collects them.

    Attributes:
        trace: where each fault is noted as well.
        faults: how many of each kind there were.
        violations: in the order they were found.
    """

    trace: Trace
    faults: Counter[FaultKind] = field(default_factory=Counter["FaultKind"])
    violations: list[Violation] = field(default_factory=list[Violation])

    def fault(self, kind: FaultKind, who: str, detail: object = "") -> None:
        """Count a fault."""
        self.faults[kind] += 1
        self.trace.note(who, kind, detail)

    def violated(self, invariant: str, detail: str) -> None:
        """Note a promise that was not kept."""
        self.violations.append(Violation(invariant, detail))
