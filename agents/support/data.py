"""Published support data: banking questions with their intents, and a desk's policies.

Questions: Casanueva et al., Efficient Intent Detection with Dual Sentence Encoders (2020): 77
intents of one bank's customers. Policies: Chen et al., Action-Based Conversations Dataset (2021):
what the agents of a shop must do, action by action. The two know nothing of each other: no question
there is answered by a policy here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import orjson

from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers
from batuta.agents.samples import SampleEvent
from batuta.agents.support.policies import Policy
from batuta.agents.verification.sentences import content_words
from batuta.schemas.errors import UsageError
from batuta.schemas.times import rfc3339

__all__ = [
    "MESSAGE_COLUMNS",
    "POLICY_FILE",
    "TEST_FILE",
    "TRAIN_FILE",
    "Messages",
    "guideline_policies",
    "messages_of",
]

TRAIN_FILE: Final = "train.csv.gz"
TEST_FILE: Final = "test.csv.gz"
#: In the folder of the other data set, beside the questions' own.
POLICY_FILE: Final = "../abcd_policy/guidelines.json"
MESSAGE_COLUMNS: Final = ("text", "category")

_START_MS: Final = 1_584_000_000_000
_APART_MS: Final = 60_000
_STEP_WORDS_MIN: Final = 3
_BRACKETS: Final = re.compile(r"[\[\]]")
_FIRST_SENTENCE: Final = re.compile(r"(?<=[.!?])\s")
_NO_BUTTON: Final = "N/A"


@dataclass(frozen=True)
class Messages:
    """Questions to be told apart, and those that were labelled before.

    Attributes:
        texts, labels: of the questions that are asked, in order.
        past_texts, past_labels: what is learnt from.
        policies: that drafts are verified against.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    past_texts: tuple[str, ...]
    past_labels: tuple[str, ...]
    policies: tuple[Policy, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def times_ms(self) -> Integers:
        """A question a minute: the data set has no times."""
        return _START_MS + _APART_MS * np.arange(len(self), dtype=np.int64)

    @property
    def days(self) -> Integers:
        """Days since the first question's."""
        return (self.times_ms - _START_MS) // 86_400_000

    @property
    def entities(self) -> Integers:
        """Each question is somebody else's."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def positive(self) -> Booleans:
        """Nothing is looked for: questions are told apart."""
        return np.zeros(len(self), np.bool_)

    @property
    def losses(self) -> Numbers:
        """Nobody knows."""
        return np.zeros(len(self))

    @property
    def label_after_ms(self) -> int:
        """At once."""
        return 0

    def event_ids(self) -> Iterator[str]:
        """Yield the id of each question."""
        return (f"banking77-{row:05d}" for row in range(len(self)))

    def events(self) -> Iterator[SampleEvent]:
        """Yield each question as a message; labels are published nowhere."""
        times = self.times_ms.tolist()
        for message_id, time_ms, text in zip(self.event_ids(), times, self.texts, strict=True):
            customer = f"of-{message_id}"
            message = {
                "message_id": message_id,
                "sent_at": rfc3339(time_ms),
                "customer_id": customer,
                "channel": "chat",
                "text": text,
            }
            yield SampleEvent(message_id, customer, orjson.dumps(message), b"", positive=False)


def messages_of(
    past: Mapping[str, npt.NDArray[np.generic]],
    asked: Mapping[str, npt.NDArray[np.generic]],
    policies: tuple[Policy, ...],
) -> Messages:
    """Return the data set.

    Args:
        past: `MESSAGE_COLUMNS` of `TRAIN_FILE`.
        asked: the same of `TEST_FILE`.
        policies: of the other data set.

    Raises:
        UsageError: there is no question, or one has a label that nothing is learnt of.
    """
    old, new = (_pairs(columns) for columns in (past, asked))
    unknown = sorted(set(new[1]) - set(old[1]))
    if unknown or not new[1]:
        what = f"label {unknown[0]!r} that {TRAIN_FILE} has not" if unknown else "no question"
        raise UsageError(f"{TEST_FILE} has {what}")
    return Messages(*new, *old, policies)


def _pairs(
    columns: Mapping[str, npt.NDArray[np.generic]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    texts, labels = (tuple(map(str, columns[name].tolist())) for name in MESSAGE_COLUMNS)
    return texts, labels


def guideline_policies(guidelines: object) -> tuple[Policy, ...]:
    """Return the policies of `POLICY_FILE`, in its order.

    A step is what an agent does there, by the first sentence that says it; all else is text.

    Raises:
        UsageError: the file is not what it should be.
    """
    try:
        flows = cast("Mapping[str, Mapping[str, Mapping[str, object]]]", guidelines)
        found = [
            _policy(f"{flow}: {name}", cast("Mapping[str, object]", entry))
            for flow, described in flows.items()
            for name, entry in described["subflows"].items()
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{POLICY_FILE} does not map flows to subflows of actions") from error
    return tuple(found)


def _policy(title: str, entry: Mapping[str, object]) -> Policy:
    actions = cast("list[Mapping[str, object]]", entry["actions"])
    steps = dict.fromkeys(step for action in actions if (step := _step(action)))
    further = [*cast("list[str]", entry["instructions"])]
    for action in actions:
        further += [str(action["text"]), *cast("list[str]", action["subtext"])]
    return Policy(title, tuple(steps), "\n".join(_plain(one) for one in further))


def _step(action: Mapping[str, object]) -> str:
    """Return what an agent does, in words enough to know it by; empty where there are none."""
    said = _FIRST_SENTENCE.split(_plain(str(action["text"])))[0]
    if len(content_words(said)) < _STEP_WORDS_MIN:
        button, details = str(action["button"]), cast("list[str]", action["subtext"])
        named = "" if button == _NO_BUTTON else button
        said = " ".join(part for part in (named, said, *map(_plain, details[:1])) if part)
        said = _FIRST_SENTENCE.split(said)[0]
    return said.rstrip(" :.") if len(content_words(said)) >= _STEP_WORDS_MIN else ""


def _plain(text: str) -> str:
    return " ".join(_BRACKETS.sub("", text).split())
