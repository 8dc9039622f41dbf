"""Trouble on purpose: calls that are late, refused, or lose their connection."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batuta.schemas.errors import LaterError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConnectionDroppedError", "Fault", "Faults"]


class ConnectionDroppedError(LaterError):
    """This connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with calls of one API.

    Attributes:
        api: the name of the API: Produce, Fetch, JoinGroup, ...
        delay_ms: how late the call is handled.
        error_code: answered in place of the outcome, which does not happen; 0 for none.
        drop_connection: whether the connection closes instead of an answer.
        after_handling: whether the call takes effect before the fault: a lost answer, not a
            lost request.
        probability: how likely a call is hit.
        count: how many calls are hit at most; None for all.
    """

    api: str
    delay_ms: float = 0
    error_code: int = 0
    drop_connection: bool = False
    after_handling: bool = False
    probability: float = 1.0
    count: int | None = None


class Faults:
    """The faults in force; the same seed hits the same calls."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance for tests, not for secrets
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.count) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Put one more fault in force."""
        self._left.append((fault, fault.count))

    def clear(self) -> None:
        """End all faults."""
        self._left.clear()

    def next_for(self, api: str) -> Fault | None:
        """The fault that hits this call, if one does; it is used up by one."""
        for index, (fault, left) in enumerate(self._left):
            if fault.api != api or left == 0:
                continue
            if self._random.random() < fault.probability:
                self._left[index] = (fault, None if left is None else left - 1)
                return fault
        return None
