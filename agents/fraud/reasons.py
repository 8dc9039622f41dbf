"""What stands out in a transaction's features, as codes for records and texts for people."""

from collections.abc import Callable, Mapping
from typing import Final

from batuta.agents.reasons import shared_text_of

__all__ = ["FraudReasons"]

_Strength = Callable[[Mapping[str, float]], float]


def _ratio(features: Mapping[str, float], part: str, whole: str) -> float:
    return features.get(part, 0.0) / max(features.get(whole, 0.0), 1e-9)


def _large(features: Mapping[str, float]) -> float:
    return features.get("amount", 0.0) / 220.0


def _unusual_for_card(features: Mapping[str, float]) -> float:
    seen = features.get("card_count_30d", 0.0)
    return _ratio(features, "amount", "card_mean_amount_30d") / 2.5 if seen > 1 else 0.0


def _card_burst(features: Mapping[str, float]) -> float:
    usual = max(features.get("card_count_30d", 0.0) / 30.0, 1.0)
    return features.get("card_count_1d", 0.0) / usual / 3.0


def _card_dearer(features: Mapping[str, float]) -> float:
    return _ratio(features, "card_mean_amount_1d", "card_mean_amount_30d") / 2.0


def _terminal_burst(features: Mapping[str, float]) -> float:
    usual = max(features.get("terminal_count_30d", 0.0) / 30.0, 1.0)
    return features.get("terminal_count_1d", 0.0) / usual / 3.0


def _new_card(features: Mapping[str, float]) -> float:
    return 1.0 if features.get("card_count_30d", 2.0) <= 1.0 else 0.0


def _night(features: Mapping[str, float]) -> float:
    return features.get("night", 0.0)


#: How strongly each reason speaks: from 1 on it is given, and the larger the earlier.
_STRENGTHS: Final[Mapping[str, _Strength]] = {
    "large_amount": _large,
    "amount_unusual_for_card": _unusual_for_card,
    "card_burst": _card_burst,
    "card_dearer_than_usual": _card_dearer,
    "terminal_burst": _terminal_burst,
    "new_card": _new_card,
    "night": _night,
}

_TEXTS: Final[Mapping[str, str]] = {
    "large_amount": "the amount is large",
    "amount_unusual_for_card": "the amount is far above the card's mean of 30 days",
    "card_burst": "the card was used far more often than usual within a day",
    "card_dearer_than_usual": "the card's mean amount of the day is far above its usual one",
    "terminal_burst": "the terminal took far more transactions than usual within a day",
    "new_card": "the card was not seen within 30 days",
    "night": "the transaction was made at night",
}


class FraudReasons:
    """The reasons of the fraud pipeline."""

    def codes_of(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Return the codes that apply, the strongest first."""
        strengths = [(strength(features), code) for code, strength in _STRENGTHS.items()]
        return tuple(code for strength, code in sorted(strengths, reverse=True) if strength >= 1.0)

    def text_of(self, code: str) -> str:
        """Return a sentence for people."""
        return _TEXTS.get(code) or shared_text_of(code)
