"""Gathers what the topics say about one event: the evidence behind `batuta explain`.

Feed it every record of a pipeline's topics; it keeps those about the event. Only the bytes are
searched at first, so that millions of records cost a search and not a decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from batuta.schemas.action import Action
from batuta.schemas.codec import (
    EventCodec,
    decode_action,
    decode_any_case,
    decode_dead_letter,
    decode_decision,
    decode_ingested,
    decode_notification,
    decode_outcome,
    decode_reviewed,
)
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.decision import Decision
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.event import Event
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.notification import Notification
from batuta.schemas.record import Record
from batuta.schemas.review import ReviewCase, Reviewed, StepCase
from batuta.schemas.topics import Topics

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped

__all__ = ["Evidence", "Hop", "Story", "StorySearch"]

MessageT_co = TypeVar("MessageT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Evidence(Generic[MessageT_co]):
    """A record about the event, and what it says."""

    record: Record
    message: MessageT_co


@dataclass(frozen=True, slots=True)
class Hop:
    """One moment of the event's walk, and how long after the first it was."""

    what: str
    time_ms: int
    after_ms: int


@dataclass(slots=True)
class Story:
    """Everything found about one event, each kind in the order it was read."""

    event_id: str
    events: list[Evidence[Event[Any]]] = field(default_factory=list[Evidence[Event[Any]]])
    ingested: list[Evidence[Ingested]] = field(default_factory=list[Evidence[Ingested]])
    decisions: list[Evidence[Decision]] = field(default_factory=list[Evidence[Decision]])
    cases: list[Evidence[ReviewCase]] = field(default_factory=list[Evidence[ReviewCase]])
    actions: list[Evidence[Action]] = field(default_factory=list[Evidence[Action]])
    labels: list[Evidence[LabelOutcome]] = field(default_factory=list[Evidence[LabelOutcome]])
    questions: list[Evidence[StepCase]] = field(default_factory=list[Evidence[StepCase]])
    reviewed: list[Evidence[Reviewed]] = field(default_factory=list[Evidence[Reviewed]])
    notifications: list[Evidence[Notification]] = field(
        default_factory=list[Evidence[Notification]]
    )
    dead_letters: list[Evidence[DeadLetter]] = field(default_factory=list[Evidence[DeadLetter]])

    @property
    def told(self) -> bool:
        """Whether anything at all was found."""
        return bool(
            self.events
            or self.ingested
            or self.decisions
            or self.cases
            or self.questions
            or self.notifications
            or self.dead_letters
        )

    def hops(self) -> list[Hop]:
        """Return the moments of the walk in order of time, from the event's publication."""
        moments = [("published", e.record.timestamp_ms) for e in self.events[:1]]
        moments += [("ingested", e.record.timestamp_ms) for e in self.ingested[:1]]
        moments += [("decided", e.message.decided_at_ms) for e in self.decisions[:1]]
        moments += [("decision on its topic", e.record.timestamp_ms) for e in self.decisions[:1]]
        moments += [("a person asked", e.message.opened_at_ms) for e in self.questions]
        moments += [(f"verdict: {e.message.result}", e.message.at_ms) for e in self.reviewed]
        moments += [("review case opened", e.message.opened_at_ms) for e in self.cases[:1]]
        moments += [("notification made", e.message.created_at_ms) for e in self.notifications[:1]]
        moments += [("refused", e.message.refused_at_ms) for e in self.dead_letters[:1]]
        moments.sort(key=lambda moment: moment[1])
        return [Hop(what, time_ms, time_ms - moments[0][1]) for what, time_ms in moments]


class StorySearch:
    """Keeps the records about one event of one pipeline.

    Args:
        shipped: the pipeline.
        event_id: its identity under the pipeline's rule.
    """

    def __init__(self, shipped: "Shipped", event_id: str) -> None:
        topics = Topics(shipped.pipeline.name)
        self.story = Story(event_id)
        self._event_id = event_id
        self._door = EventCodec(shipped.pipeline.source, shipped.data)
        self._needle = _needle(event_id) if shipped.pipeline.source.id_field else b""
        self._keep = {
            topics.events: self._event,
            topics.ingested: self._ingested,
            topics.decisions: self._decision,
            topics.escalations: self._case,
            topics.reviewed: self._reviewed,
            topics.actions: self._action,
            **({topics.outcomes: self._label} if shipped.pipeline.labels else {}),
            topics.notifications: self._notification,
            topics.deadletters: self._dead_letter,
        }

    @property
    def topics(self) -> Sequence[str]:
        """The topics to read."""
        return tuple(self._keep)

    def take(self, record: Record) -> None:
        """Keep `record` where it is about the event."""
        if self._needle not in (record.value or b""):
            return
        try:
            self._keep[record.topic](record)
        except RefusedEventError:
            return  # a message of another version or hand: not evidence, and not ours to judge

    def _event(self, record: Record) -> None:
        for event in self._door.decode([record], record.timestamp_ms).events:
            if event.id == self._event_id:
                self.story.events.append(Evidence(record, event))

    def _ingested(self, record: Record) -> None:
        for message in decode_ingested([record]).items:
            if message.event_id == self._event_id:
                self.story.ingested.append(Evidence(record, message))

    def _decision(self, record: Record) -> None:
        message = decode_decision(record)
        if message.event_id == self._event_id:
            self.story.decisions.append(Evidence(record, message))

    def _case(self, record: Record) -> None:
        message = decode_any_case(record)
        if isinstance(message, StepCase):
            if message.event_id == self._event_id:
                self.story.questions.append(Evidence(record, message))
        elif message.decision.event_id == self._event_id:
            self.story.cases.append(Evidence(record, message))

    def _action(self, record: Record) -> None:
        message = decode_action(record)
        if message.event_id == self._event_id:
            self.story.actions.append(Evidence(record, message))

    def _label(self, record: Record) -> None:
        message = decode_outcome(record)
        if message.event_id == self._event_id:
            self.story.labels.append(Evidence(record, message))

    def _reviewed(self, record: Record) -> None:
        message = decode_reviewed(record)
        if message.event_id == self._event_id:
            self.story.reviewed.append(Evidence(record, message))

    def _notification(self, record: Record) -> None:
        message = decode_notification(record)
        if message.event_id == self._event_id:
            self.story.notifications.append(Evidence(record, message))

    def _dead_letter(self, record: Record) -> None:
        self.story.dead_letters.append(Evidence(record, decode_dead_letter(record)))


def _needle(event_id: str) -> bytes:
    """Return the bytes an id has in any JSON; nothing where writers may escape it differently."""
    return orjson.dumps(event_id)[1:-1] if event_id.isascii() and "/" not in event_id else b""
