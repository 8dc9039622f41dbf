"""A checkpoint: the checks of one place in a plan, run over a batch, none of them trusted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from batuta.agents.reasons import CHECK_BROKE
from batuta.agents.understanding.isolation import Isolation
from batuta.agents.verification.port import BatchCheck, CheckBatch, Codes, Verdict
from batuta.agents.verification.remedies import Remedies
from batuta.schemas.errors import LaterError, OursError
from batuta.schemas.review import CRITIQUE_CHARACTERS_MAX

__all__ = ["BROKE", "NOT_RUN", "BoundCheck", "Checkpoint", "Validator", "Vouches", "cut"]

#: Codes beside those of a check: it raised, hung or answered nonsense; nobody has asked it.
BROKE: Final = 127
NOT_RUN: Final = -1
#: What a check takes off when it passes: nothing; all taint; what one of several models that agree
#: does not carry.
Vouches = Literal["nothing", "all", "agreement"]
#: Why a validator did not let an answer pass.
VALIDATOR_REASONS: Final = ("validator_refused", "validator_failed")
_CUT: Final = " [cut]"
NO_REMEDIES: Final = Remedies()


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A check in its place.

    Attributes:
        name: as records and metrics call it.
        vouches: what its passing takes off.
    """

    name: str
    check: BatchCheck
    vouches: Vouches = "nothing"


@dataclass(frozen=True, slots=True)
class Validator:
    """A model that judges answers: those that it scores below `least` fail.

    Attributes:
        taint: the labels it cannot vouch for, because it carries them itself.
    """

    model: str
    least: float = 0.5
    taint: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What is checked in one place of a plan.

    Attributes:
        name: where that is.
        checks: run first, all of them.
        validators: models asked about what has passed these.
        remedies: what is tried where an answer does not pass.
        follows: whether it must be told who has answered for each row, as several may.
    """

    name: str
    checks: tuple[BoundCheck, ...]
    validators: tuple[Validator, ...] = ()
    remedies: Remedies = NO_REMEDIES
    follows: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The checks by name, validators behind the others."""
        return (*(one.name for one in self.checks), *(one.model for one in self.validators))

    def reason(self, check: int, code: int) -> str:
        """Return the reason behind a code, empty for what passed."""
        if code <= 0:
            return ""
        if check >= len(self.checks):
            return VALIDATOR_REASONS[code - 1]
        return CHECK_BROKE if code == BROKE else self.checks[check].check.reasons[code - 1]

    def run(
        self, batch: CheckBatch, isolation: Isolation
    ) -> tuple[npt.NDArray[np.int8], Mapping[int, str]]:
        """Run every check; return codes, (checks, events), and critiques of what failed."""
        found = np.empty((len(self.checks), len(batch)), np.int8)
        critiques: dict[int, list[str]] = {}
        for place, bound in enumerate(self.checks):
            verdict = _run(bound, batch, isolation)
            found[place] = verdict.codes
            for row, said in verdict.critiques.items():
                critiques.setdefault(row, []).append(said)
        return found, {row: cut("; ".join(said)) for row, said in critiques.items()}


def cut(critique: str, characters_max: int = CRITIQUE_CHARACTERS_MAX) -> str:
    """Return a critique of bounded length, marked where something was left out.

    >>> cut("too long by far", 12)
    'too lo [cut]'
    """
    if len(critique) <= characters_max:
        return critique
    return critique[: characters_max - len(_CUT)] + _CUT


def _run(bound: BoundCheck, batch: CheckBatch, isolation: Isolation) -> Verdict:
    """Run one check; one that breaks, or does not come back, has failed every answer."""
    work: Callable[[], Verdict] = partial(bound.check.check, batch)
    try:
        verdict = isolation.run(bound.name, work)
        codes, critiques = np.asarray(verdict.codes), dict(verdict.critiques)
        _refuse_nonsense(codes, critiques, len(batch), len(bound.check.reasons))
    except (LaterError, OursError):
        raise
    except Exception as failure:  # noqa: BLE001 - a check is anybody's code
        isolation.report(bound.name, failure)
        return Verdict(np.full(len(batch), BROKE, np.int8))
    return Verdict(codes, critiques)


def _refuse_nonsense(
    codes: Codes, critiques: Mapping[int, object], rows: int, reasons: int
) -> None:
    if codes.shape != (rows,) or codes.dtype != np.int8:
        raise ValueError(f"codes of {codes.dtype}, shape {codes.shape}: {rows} of int8 are wanted")
    if rows and (codes.min() < 0 or codes.max() > reasons):
        raise ValueError(f"codes from {codes.min()} to {codes.max()}, there are {reasons} reasons")
    for row, said in critiques.items():
        if not 0 <= row < rows or not isinstance(said, str):
            raise ValueError(f"a critique of row {row!r} of {rows}")
