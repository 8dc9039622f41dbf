"""Prices: what a call costs, in whole billionths of a currency's unit.

A call whose reply does not say what it took is priced at the most it may have taken: a token is at
least one byte of what was sent, and no more come back than were allowed.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from batuta.agents.models.answers import NANO

__all__ = ["Price", "nano"]

_MILLION: Final = 1_000_000


def nano(amount: Decimal) -> int:
    """Return an amount in billionths, rounded up.

    >>> nano(Decimal("0.0008"))
    800000
    """
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs.

    Attributes:
        currency: ISO 4217; empty for a model that costs nothing.
        answer_nano: of one row's answer.
        input_nano, output_nano: of a million tokens.
    """

    currency: str = ""
    answer_nano: int = 0
    input_nano: int = 0
    output_nano: int = 0

    def of(self, answers: int, input_tokens: int = 0, output_tokens: int = 0) -> int:
        """Return what answers and tokens cost, rounded up.

        >>> Price("EUR", answer_nano=5, input_nano=2_000_000).of(2, input_tokens=3)
        16
        """
        tokens = input_tokens * self.input_nano + output_tokens * self.output_nano
        return answers * self.answer_nano + -(-tokens // _MILLION)
