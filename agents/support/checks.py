"""The checks of a reply, as the sample pipeline's file puts them behind its draft.

An evaluation measures these; a test holds them to what the file says.
"""

from typing import Final

from batuta.agents.support.prescribed import PrescribedSteps
from batuta.agents.verification.checkpoint import BoundCheck, Checkpoint
from batuta.agents.verification.grounding import GroundingCheck
from batuta.agents.verification.privacy import PrivacyCheck
from batuta.agents.verification.tone import ToneCheck

__all__ = ["DRAFTER", "POLICIES_FOUND", "reply_checkpoint"]

#: The models whose values the checks look at.
DRAFTER: Final = "drafter"
POLICIES_FOUND: Final = "policies"
_GROUNDED: Final = 0.6


def reply_checkpoint() -> Checkpoint:
    """Return the checks of a reply."""
    return Checkpoint(
        "reply",
        (
            BoundCheck("privacy", PrivacyCheck(DRAFTER, POLICIES_FOUND)),
            BoundCheck("tone", ToneCheck(DRAFTER)),
            BoundCheck("steps", PrescribedSteps(DRAFTER, POLICIES_FOUND)),
            BoundCheck("grounding", GroundingCheck(DRAFTER, POLICIES_FOUND, _GROUNDED), "all"),
        ),
    )
