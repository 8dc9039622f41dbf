"""The terms on which a model is asked: its price, and how long and how often it is waited for."""

from dataclasses import dataclass

__all__ = ["Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How one model is asked.

    Attributes:
        price_nano: of one answer, billionths of `currency`, where the model does not bill itself.
        timeout_ms: an answer that takes longer is none.
    """

    price_nano: int = 0
    currency: str = ""
    timeout_ms: int = 1_000
