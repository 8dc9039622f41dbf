"""What stands out in a reading, as a code for records and a text for people."""

from collections.abc import Mapping
from typing import Final

from batuta.agents.maintenance.model import SURPRISE_INPUT
from batuta.agents.reasons import shared_text_of

__all__ = ["MaintenanceReasons"]

#: From which surprise on a reading stands out, and from which it is unlike anything before.
_UNUSUAL: Final = 2.0
_UNHEARD_OF: Final = 5.0
_TEXTS: Final[Mapping[str, str]] = {
    "reading_unusual": "the sensor seldom read like this before",
    "reading_unheard_of": "the sensor never read anything near this before",
}


class MaintenanceReasons:
    """The reasons of the maintenance pipeline."""

    def codes_of(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Return the code that applies, if any."""
        surprise = features.get(SURPRISE_INPUT, 0.0)
        if surprise >= _UNHEARD_OF:
            return ("reading_unheard_of",)
        return ("reading_unusual",) if surprise >= _UNUSUAL else ()

    def text_of(self, code: str) -> str:
        """Return a sentence for people."""
        return _TEXTS.get(code) or shared_text_of(code)
