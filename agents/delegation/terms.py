"""The terms on which a model is asked: its price, and how long and how often it is waited for."""

from dataclasses import dataclass

from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.bulkhead import BulkheadRule
from batuta.agents.delegation.retrying import RetryRule
from batuta.agents.models.calibration import Calibration

__all__ = ["Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How one model is asked.

    Attributes:
        price_nano: of one answer, billionths of `currency`, where the model does not bill itself.
        timeout_ms: an answer that takes longer is none.
        breaker: when it is left alone; None: never.
        bulkhead: how many calls may be open; None: any number.
        retry: how often it is asked again where it failed; None: not at all.
        hedge: whether a call that takes long is made a second time.
        taint: the labels that its answers carry.
        reads: the models whose answers it is given: it carries theirs as well.
        calibration: what it says of how sure it is has come to mean; None: it is believed.
    """

    price_nano: int = 0
    currency: str = ""
    timeout_ms: int = 1_000
    breaker: BreakerRule | None = None
    bulkhead: BulkheadRule | None = None
    retry: RetryRule | None = None
    hedge: bool = False
    taint: int = 0
    reads: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def guarded(self) -> bool:
        """Whether more is to be kept of it than its price."""
        return bool(self.breaker or self.bulkhead or self.retry or self.hedge)
