"""Compiles the terms on which a model is asked: its price, and how it is guarded."""

from typing import Final

from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.bulkhead import BulkheadRule
from batuta.agents.delegation.retrying import RetryRule
from batuta.agents.delegation.terms import Terms
from batuta.agents.models.answers import NANO
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.guarding import BreakerEntry, BulkheadEntry
from batuta.schemas.pipeline_file.serving import SERVED

__all__ = ["terms_of"]

_BREAKER: Final = BreakerEntry()
_BULKHEAD: Final = BulkheadEntry()


def terms_of(entry: ModelEntry) -> Terms:
    """Return the terms of a model; one that a server answers for is never without a guard."""
    served = entry.adapter in SERVED
    breaker = entry.breaker or (_BREAKER if served else None)
    bulkhead = entry.bulkhead or (_BULKHEAD if served else None)
    # It counts what happens to calls, which a call that takes its whole timeout has to fit into.
    rule = breaker and BreakerRule(
        breaker.failures, max(breaker.over, entry.timeout), breaker.calls, breaker.open
    )
    # A served model bills its own answers.
    cost = None if served else entry.cost
    return Terms(
        price_nano=int(cost.amount * NANO) if cost else 0,
        currency=cost.currency if cost else "",
        timeout_ms=entry.timeout,
        breaker=rule,
        bulkhead=bulkhead and BulkheadRule(bulkhead.calls, bulkhead.queue),
        retry=entry.retry and RetryRule(entry.retry.times, entry.retry.wait),
        hedge=entry.hedge,
    )
