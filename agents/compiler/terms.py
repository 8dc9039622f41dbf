"""Compiles the terms on which a model is asked: its price, and how it is guarded."""

from typing import Final

from batuta.agents.compiler.verifying import label_of, read_by
from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.bulkhead import BulkheadRule
from batuta.agents.delegation.retrying import RetryRule
from batuta.agents.delegation.terms import Terms
from batuta.agents.models.calibration import Calibration
from batuta.agents.models.prices import nano
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.guarding import BreakerEntry, BulkheadEntry
from batuta.schemas.pipeline_file.serving import SERVED

__all__ = ["terms_of"]

_BREAKER: Final = BreakerEntry()
_BULKHEAD: Final = BulkheadEntry()


def terms_of(entry: ModelEntry) -> Terms:
    """Return the terms of a model; one that a server answers for is never without a guard."""
    served = entry.adapter in SERVED
    # A served model bills its own answers.
    cost = None if served else entry.cost
    retry = entry.retry
    return Terms(
        price_nano=nano(cost.amount) if cost else 0,
        currency=cost.currency if cost else "",
        timeout_ms=entry.timeout,
        breaker=_breaker(entry.breaker or (_BREAKER if served else None), entry.timeout),
        bulkhead=_bulkhead(entry.bulkhead or (_BULKHEAD if served else None)),
        retry=RetryRule(retry.times, retry.wait) if retry else None,
        hedge=entry.hedge,
        taint=int(label_of(entry)),
        reads=read_by(entry),
        calibration=_calibration(entry),
    )


def _calibration(entry: ModelEntry) -> Calibration | None:
    if not entry.calibration:
        return None
    return Calibration(tuple((said, right) for said, right in entry.calibration))


def _breaker(entry: BreakerEntry | None, timeout_ms: int) -> BreakerRule | None:
    if entry is None:
        return None
    # A call that takes its whole timeout has to fit into the window.
    return BreakerRule(entry.failures, max(entry.over, timeout_ms), entry.calls, entry.open)


def _bulkhead(entry: BulkheadEntry | None) -> BulkheadRule | None:
    return BulkheadRule(entry.calls, entry.queue) if entry else None
