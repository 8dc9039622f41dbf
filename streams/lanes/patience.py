"""Patience: how long a batch waits for the answer to its question, and how it hears not to.

A batch waits up to the soft deadline. Whoever asks for it may know better: where all that is
outstanding has lately taken longer than that, `lose` lets the batch go on at once with what is
known, so that a slow model costs its neighbours nothing.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

__all__ = ["PATIENCE", "Patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """That of one batch.

    Attributes:
        soft_deadline_ms: how long it waits, unless it loses patience.
        lose: lets it wait no longer.
    """

    soft_deadline_ms: int
    lose: Callable[[], None]


#: That of the batch whose question is asked; None where nobody waits.
PATIENCE: Final[ContextVar[Patience | None]] = ContextVar("patience", default=None)
