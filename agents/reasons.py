"""Why a decision fell as it did: the codes every pipeline shares, and the port for its own.

A code is a contract (it stands in records and on metrics); its text is for people and may change.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = [
    "BUDGET_SPENT",
    "CHECK_BROKE",
    "FEATURE_FAILED",
    "MODEL_ANSWER_INVALID",
    "MODEL_FAILED",
    "MODEL_LATE",
    "PERSON_LATE",
    "RULE_FAILED",
    "TAINTED",
    "TEXT_MISSING",
    "TEXT_TOO_LONG",
    "BatchReasons",
    "NoReasons",
    "Reasons",
    "shared_text_of",
]

#: The model answered NaN, infinity, something outside 0 to 1, or too few rows.
MODEL_ANSWER_INVALID: Final = "model_answer_invalid"
#: The model raised instead of answering.
MODEL_FAILED: Final = "model_failed"
#: The model gave no answer by the deadline, or too many events waited for one.
MODEL_LATE: Final = "model_late"
#: Too many events waited for a person: this one waited longest, and goes to review for good.
PERSON_LATE: Final = "person_late"
#: What models may cost in this window is spent, so nobody asked one.
BUDGET_SPENT: Final = "budget_spent"
#: An expression or a part of the user's own could not tell a feature of the event.
FEATURE_FAILED: Final = "feature_failed"
#: A check of the user's own raised, or answered no truth value per event.
CHECK_BROKE: Final = "check_broke"
#: A rule could not be answered for the event.
RULE_FAILED: Final = "rule_failed"
#: A rule asks for an action over an answer that is tainted.
TAINTED: Final = "tainted"
#: A check of texts looks at an answer that holds none.
TEXT_MISSING: Final = "text_missing"
#: A text is longer than checks read.
TEXT_TOO_LONG: Final = "text_too_long"

_TEXTS: Final[Mapping[str, str]] = {
    "score_low": "the score is below the review threshold",
    "score_high": "the score is above the review threshold",
    "score_very_high": "the score is above the block threshold",
    MODEL_ANSWER_INVALID: "the model gave no usable answer, so a person decides",
    BUDGET_SPENT: "what models may cost is spent, so a person decides",
    MODEL_FAILED: "the model failed, so a person decides",
    FEATURE_FAILED: "a feature could not be told, so a person decides",
    CHECK_BROKE: "a check of the answer broke, so a person decides",
    RULE_FAILED: "a rule could not be answered, so a person decides",
    TAINTED: "what the answer rests on is not verified, so a person decides about the action",
    "out_of_range": "the answer is outside its bounds, so a person decides",
    "schema_broken": "the answer has not the agreed shape, so a person decides",
    "models_contradict": "the models contradict each other, so a person decides",
    "rule_broken": "the answer breaks a rule, so a person decides",
    "claim_ungrounded": "no source supports a claim of the answer, so a person decides",
    "nothing_to_ground": "there is no text, or no source to hold it against, so a person decides",
    TEXT_MISSING: "there is no text to check, so a person decides",
    TEXT_TOO_LONG: "the text is too long to check, so a person decides",
    "tone_rude": "the text is rude, so a person decides",
    "tone_blaming": "the text blames the reader, so a person decides",
    "tone_shouting": "the text shouts, so a person decides",
    "tone_unwanted": "the text holds unwanted words, so a person decides",
    "step_missing": "the text leaves out a prescribed step, so a person decides",
    "steps_out_of_order": "the text says the steps in another order, so a person decides",
    "validator_refused": "a model that judges answers did not accept it, so a person decides",
    "validator_failed": "the model that judges answers gave no answer, so a person decides",
    "check_failed": "the answer did not pass a check, so a person decides",
    MODEL_LATE: "the model gave no answer in time, so a person decides",
    PERSON_LATE: "too many events waited for a person, so one decides outside of the plan",
}


class Reasons(Protocol):
    """What a pipeline's features say about a suspicious event."""

    def codes_of(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Return codes of what stands out in `features`, the strongest first; may be empty."""
        ...

    def text_of(self, code: str) -> str:
        """Return a sentence for people about any code of this pipeline or of all pipelines."""
        ...


@runtime_checkable
class BatchReasons(Protocol):
    """Reasons that know those of many events at once, which costs less than one by one."""

    def codes_of_all(
        self, columns: Mapping[str, npt.NDArray[np.float64]]
    ) -> Sequence[tuple[str, ...]]:
        """Return what `codes_of` does of each event.

        Args:
            columns: (events,) of each feature, by name.
        """
        ...


class NoReasons:
    """A pipeline that gives only the reasons all pipelines share."""

    def codes_of(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Return nothing."""
        del features
        return ()

    def text_of(self, code: str) -> str:
        """Return the shared text."""
        return shared_text_of(code)


def shared_text_of(code: str) -> str:
    """Return the text of a code that all pipelines share; an unknown code is its own text."""
    return _TEXTS.get(code, code.replace("_", " "))
