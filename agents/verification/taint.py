"""Taint: what may be wrong with a value, as flags that travel with it.

The rule: a value carries the taint of everything it was made from.

    a model's answer       its own labels, and those of every answer that it read
    sequence, fallback     that of the step whose answer counts
    parallel               that of every answer that was counted in, combined or voted
    cascade                that of every step that was asked: each said that the next one should be
    a checkpoint passed    what its verifying checks vouch for is taken off
    a person's answer      none

A check vouches only by what it knows itself: a validator model takes off no label that it carries,
and models that agree take off what at least one of them does not carry.
"""

from enum import IntFlag
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["NO_TAINT", "TAINTS", "Taint", "Taints", "names_of"]


class Taint(IntFlag):
    """The labels."""

    OUTSIDE_TEXT = 1
    UNVERIFIED_MODEL = 2
    FAILED_CHECK = 4
    STALE_FEATURE = 8


#: (rows,) of flags.
Taints = npt.NDArray[np.uint8]
NO_TAINT: Final = 0
TAINTS: Final = tuple(label.name.lower() for label in Taint if label.name)


def names_of(flags: int) -> tuple[str, ...]:
    """Return the names of labels, as records carry them.

    >>> names_of(Taint.OUTSIDE_TEXT | Taint.FAILED_CHECK)
    ('outside_text', 'failed_check')
    """
    return _NAMES[flags]


_NAMES: Final = tuple(
    tuple(name for place, name in enumerate(TAINTS) if flags >> place & 1)
    for flags in range(1 << len(TAINTS))
)
