"""What stands out in a transaction's features, as codes for records and texts for people."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from batuta.agents.reasons import shared_text_of

__all__ = ["FraudReasons"]

_Column = npt.NDArray[np.float64]
_Columns = Mapping[str, _Column]
_Strength = Callable[["_Features"], _Column]


class _Features:
    """Columns of features; one that is not there is what says nothing."""

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns
        self.rows = len(next(iter(columns.values()), ()))

    def get(self, name: str, otherwise: float = 0.0) -> _Column:
        found = self._columns.get(name)
        return np.full(self.rows, otherwise) if found is None else found

    def ratio(self, part: str, whole: str) -> _Column:
        return self.get(part) / np.maximum(self.get(whole), 1e-9)

    def burst(self, counts: str) -> _Column:
        """Return how many times the usual number of a day there was within one."""
        usual = np.maximum(self.get(f"{counts}_30d") / 30.0, 1.0)
        return self.get(f"{counts}_1d") / usual


def _unusual_for_card(features: _Features) -> _Column:
    seen = features.get("card_count_30d") > 1
    return np.where(seen, features.ratio("amount", "card_mean_amount_30d") / 2.5, 0.0)


def _card_dearer(features: _Features) -> _Column:
    return features.ratio("card_mean_amount_1d", "card_mean_amount_30d") / 2.0


def _new_card(features: _Features) -> _Column:
    return (features.get("card_count_30d", 2.0) <= 1.0).astype(np.float64)


#: How strongly each reason speaks: from 1 on it is given, and the larger the earlier; of two that
#: speak alike the one that stands here first.
_STRENGTHS: Final[Mapping[str, _Strength]] = {
    "terminal_burst": lambda features: features.burst("terminal_count") / 3.0,
    "night": lambda features: features.get("night"),
    "new_card": _new_card,
    "large_amount": lambda features: features.get("amount") / 220.0,
    "card_dearer_than_usual": _card_dearer,
    "card_burst": lambda features: features.burst("card_count") / 3.0,
    "amount_unusual_for_card": _unusual_for_card,
}
_CODES: Final = tuple(_STRENGTHS)

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
        columns = {name: np.array([value], np.float64) for name, value in features.items()}
        return self.codes_of_all(columns)[0] if columns else ()

    def codes_of_all(self, columns: Mapping[str, _Column]) -> list[tuple[str, ...]]:
        """Return the codes that apply to each transaction, the strongest first."""
        features = _Features(columns)
        with np.errstate(all="ignore"):
            strengths = np.array([strength(features) for strength in _STRENGTHS.values()])
        # What is no number says nothing.
        strengths = np.nan_to_num(strengths, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        order = np.argsort(-strengths, axis=0, kind="stable").T.tolist()
        applying = (strengths >= 1.0).sum(axis=0).tolist()
        return [
            tuple([_CODES[place] for place in places[:count]])
            for places, count in zip(order, applying, strict=True)
        ]

    def text_of(self, code: str) -> str:
        """Return a sentence for people."""
        return _TEXTS.get(code) or shared_text_of(code)
