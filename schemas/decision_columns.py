"""Decisions of a batch in columns: a row is made where somebody looks at one.

Most that is done with decisions goes by column (they are written, counted, told apart), and rows of
so many fields would be made only to be taken apart again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import chain
from typing import Any, Final, cast, overload

from batuta.schemas.decision import (
    CheckResult,
    Correction,
    Decision,
    ModelAnswer,
    Outcome,
    Selection,
)

__all__ = ["DecisionColumns"]

_ROW: Final = partial(tuple.__new__, Decision)


@dataclass(frozen=True, slots=True, eq=False)
class DecisionColumns(Sequence[Decision]):
    """Decisions, in order; each attribute has as many values as there are of them.

    Attributes:
        (all): as in `Decision`, whose fields these are.

    >>> DecisionColumns.of([])[:]
    []
    """

    event_id: Sequence[str]
    pipeline: Sequence[str]
    pipeline_version: Sequence[int]
    tenant: Sequence[str]
    entity: Sequence[str]
    event_time_ms: Sequence[int]
    decided_at_ms: Sequence[int]
    outcome: Sequence[Outcome]
    score: Sequence[float]
    reasons: Sequence[tuple[str, ...]]
    model: Sequence[str]
    features: Sequence[Mapping[str, float]]
    input_sha256: Sequence[str]
    published_ms: Sequence[int]
    action: Sequence[str]
    action_version: Sequence[int]
    selection: Sequence[Selection | None]
    answers: Sequence[tuple[ModelAnswer, ...]]
    fallback: Sequence[bool]
    control_offset: Sequence[int | None]
    checks: Sequence[tuple[CheckResult, ...]]
    taint: Sequence[tuple[str, ...]]
    corrections: Sequence[tuple[Correction, ...]]
    action_content: Sequence[object]

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> "DecisionColumns":
        """Return decisions in columns; the same where they are."""
        if isinstance(decisions, DecisionColumns):
            return decisions
        columns: Sequence[Sequence[Any]] = list(zip(*decisions, strict=True))
        return cls(*(columns or [()] * len(Decision._fields)))

    @classmethod
    def joined(cls, parts: Sequence["DecisionColumns"]) -> "DecisionColumns":
        """Return several as one, in order."""
        some = [part for part in parts if len(part)]
        return some[0] if len(some) == 1 else cls.of(list(chain.from_iterable(some)))

    def __len__(self) -> int:
        """Return how many decisions there are."""
        return len(self.event_id)

    def __iter__(self) -> Iterator[Decision]:
        """Make every row."""
        return map(_ROW, zip(*self._columns(), strict=True))

    @overload
    def __getitem__(self, place: int) -> Decision: ...
    @overload
    def __getitem__(self, place: slice) -> list[Decision]: ...
    def __getitem__(self, place: int | slice) -> Decision | list[Decision]:
        """Make one row, or some."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        return _ROW([column[place] for column in self._columns()])

    def __eq__(self, other: object) -> bool:
        """Tell whether `other` has the same decisions in the same order."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return list(self) == list(cast("Sequence[object]", other))

    def __hash__(self) -> int:
        """Return the hash of the events' ids, which tell decisions apart."""
        return hash(tuple(self.event_id))

    def _columns(self) -> list[Sequence[object]]:
        return [cast("Sequence[object]", getattr(self, name)) for name in Decision._fields]


assert tuple(one.name for one in fields(DecisionColumns)) == Decision._fields
