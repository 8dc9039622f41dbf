"""Asking: what an agent asks of models, and the answers that come too late for their batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

__all__ = ["OUTSTANDING", "Arrival", "News", "Outstanding"]

QuestionT_co = TypeVar("QuestionT_co", covariant=True)
AnswerT_co = TypeVar("AnswerT_co", covariant=True)

Outstanding = Literal["outstanding"]
#: Said in place of an answer that has not come yet: the question is parked.
OUTSTANDING: Final[Outstanding] = "outstanding"


@dataclass(frozen=True, slots=True)
class Arrival(Generic[QuestionT_co, AnswerT_co]):
    """An answer that came after its batch.

    Attributes:
        question: what was asked.
        answer: None where asking failed.
        error: why it did.
    """

    question: QuestionT_co
    answer: AnswerT_co | None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class News(Generic[QuestionT_co, AnswerT_co]):
    """What a batch hears of questions that earlier ones have asked.

    Attributes:
        arrivals: answers to them.
        revived: nobody remembers what was asked: parked steps are to be asked about again.
    """

    arrivals: Sequence[Arrival[QuestionT_co, AnswerT_co]] = ()
    revived: bool = False
