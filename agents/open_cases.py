"""Open cases by queue: how many wait for a verdict, and since when the oldest of them does.

Told from the cases that a lane keeps, and written nowhere.

    queues = CaseQueues()
    queues.note("c1", "fraud-review", opened_at_ms=1_000, waits=True)
    queues.open_cases(held=lambda case_id: True)    # {"fraud-review": OpenCases(1, 1_000)}
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from batuta.agents.state.agenda import Agenda

__all__ = ["CaseQueues", "OpenCases"]


class OpenCases(NamedTuple):
    """What waits in one queue.

    Attributes:
        cases: how many.
        oldest_ms: when the oldest was opened, milliseconds since 1970 UTC.
    """

    cases: int
    oldest_ms: int


class CaseQueues:
    """The open cases of one lane, each in its queue."""

    def __init__(self) -> None:
        self._queues: dict[str, Agenda] = {}

    def note(self, case_id: str, queue: str, opened_at_ms: int, *, waits: bool) -> None:
        """Note that a case waits for a verdict, or that it does no more."""
        agenda = self._queues.setdefault(queue, Agenda())
        agenda.put(case_id.encode(), opened_at_ms if waits else None)

    def open_cases(self, held: Callable[[str], bool]) -> Mapping[str, OpenCases]:
        """Return what waits, by queue.

        Args:
            held: whether a case is kept still; one that nobody answered is let go in the end.
        """
        found: dict[str, OpenCases] = {}
        for queue, agenda in self._queues.items():
            while (oldest := agenda.first()) is not None and not held(oldest[1].decode()):
                agenda.drop(oldest[1])
            if oldest is not None:
                found[queue] = OpenCases(len(agenda), oldest[0])
        return found
