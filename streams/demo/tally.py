"""What a demonstration has published and what its reader has seen come back."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from batuta.schemas.codec import (
    decode_any_case,
    decode_dead_letter,
    decode_decision,
    decode_outcome,
)
from batuta.schemas.decision import Decision
from batuta.schemas.record import Record
from batuta.schemas.review import StepCase
from batuta.schemas.topics import Topics
from batuta.streams.demo.ages import Ages
from batuta.streams.demo.ledger import Ledger
from batuta.streams.demo.spoil import SPOILED_HEADER, Sample
from batuta.streams.publisher import Timed

__all__ = ["Seen", "Tally"]

_LATEST: Final = 12
_RECENT_AGES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A decision, and how old its event was when the decision could be read."""

    decision: Decision
    age_ms: int


class Tally:
    """Counts, ages, and the latest decisions of one run.

    Attributes:
        good: every good event must come back as exactly one decision.
        spoiled: every spoiled one as exactly one dead letter.
        labels: every label that is published must be joined with its event, once.
        escalations: cases of decisions to review; `people_asked`: of events that wait for somebody.
        ages: of every decided event, from when it was due to be published until it was read.
        latest: the last decisions read, newest first; `stopped`: those that were not approved.
        last_answer_ms: when the last awaited answer was read; `last_seen_ms`: the last anything.
    """

    def __init__(self, pipeline: str, *, labelled: bool = False) -> None:
        """Begin with nothing.

        Args:
            pipeline: whose topics are read.
            labelled: whether it has labels.
        """
        topics = Topics(pipeline)
        self.good = Ledger()
        self.spoiled = Ledger()
        self.labels = Ledger()
        self.ages = Ages()
        self.outcomes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.escalations = 0
        self.people_asked = 0
        self.notifications = 0
        self.latest: deque[Seen] = deque(maxlen=_LATEST)
        self.stopped: deque[Seen] = deque(maxlen=_LATEST)
        self.first_published_ms: int | None = None
        self.last_answer_ms = 0
        self.last_seen_ms = 0
        self._first: dict[str, str] = {}
        self._recent: deque[int] = deque(maxlen=_RECENT_AGES)
        self._take = {
            topics.decisions: self._decision,
            topics.deadletters: self._dead_letter,
            topics.escalations: self._escalation,
            topics.notifications: self._notification,
            **({topics.outcomes: self._outcome} if labelled else {}),
        }

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics whose records it takes."""
        return tuple(self._take)

    @property
    def published(self) -> int:
        """How many events went out, good and spoiled."""
        return self.good.expected + self.spoiled.expected

    @property
    def answered(self) -> int:
        """How many came back, as a decision or as a dead letter."""
        return self.good.arrived + self.spoiled.arrived

    @property
    def lost(self) -> int:
        """How many have not come back."""
        return self.good.awaited + self.spoiled.awaited

    @property
    def duplicated(self) -> int:
        """How many came back more than once."""
        return self.good.duplicated + self.spoiled.duplicated

    @property
    def explain_id(self) -> str | None:
        """The event most worth explaining: the first blocked, else reviewed, else approved.

        It changes no more once an event was blocked: people copy the command it stands in.
        """
        found = (self._first.get(outcome) for outcome in ("block", "review", "approve"))
        return next((event_id for event_id in found if event_id is not None), None)

    def faults(self) -> list[str]:
        """Return a sentence about what is lost and what is doubled, with a few names of each."""
        sentences: list[str] = []
        told = (("event", self.good), ("spoiled event", self.spoiled), ("label", self.labels))
        for kind, ledger in told:
            lost, doubled = ledger.examples()
            if lost:
                sentences.append(f"{ledger.awaited:,} {kind}s lost, e.g. {', '.join(lost)}")
            if doubled:
                names = ", ".join(doubled)
                sentences.append(f"{ledger.duplicated:,} {kind}s answered twice, e.g. {names}")
        return sentences

    def recent_age_ms(self, share: float) -> int | None:
        """Return a percentile of the latest ages."""
        ages = sorted(self._recent)
        return ages[min(len(ages) - 1, int(share * len(ages)))] if ages else None

    def announce(self, samples: Sequence[Sample], timed: Sequence[Timed]) -> None:
        """Note what is about to go out."""
        if self.first_published_ms is None:
            self.first_published_ms = timed[0].timestamp_ms
        for sample, record in zip(samples, timed, strict=True):
            ledger = self.spoiled if sample.spoiled else self.good
            ledger.expect(sample.identity, record.timestamp_ms)

    def await_labels(self, event_ids: Iterable[str], now_ms: int) -> None:
        """Note of which events labels are about to go out."""
        for event_id in event_ids:
            self.labels.expect(event_id, now_ms)

    def take(self, records: Sequence[Record], now_ms: int) -> None:
        """Note what was read at `now_ms`."""
        for record in records:
            self._take[record.topic](record, now_ms)
        self.last_seen_ms = now_ms

    def _decision(self, record: Record, now_ms: int) -> None:
        decision = decode_decision(record)
        age_ms = self.good.arrive(decision.event_id, now_ms)
        if age_ms is None:
            return
        self.last_answer_ms = now_ms
        self.outcomes[decision.outcome] += 1
        self._first.setdefault(decision.outcome, decision.event_id)
        self.ages.add(age_ms)
        self._recent.append(age_ms)
        seen = Seen(decision, age_ms)
        self.latest.appendleft(seen)
        if decision.outcome != "approve":
            self.stopped.appendleft(seen)

    def _dead_letter(self, record: Record, now_ms: int) -> None:
        letter = decode_dead_letter(record)
        identity = dict(letter.record.headers).get(SPOILED_HEADER)
        if identity is None:
            self.spoiled.strangers += 1
            self.refusals[letter.reason] += 1
        elif self.spoiled.arrive(identity.decode(), now_ms) is not None:
            self.last_answer_ms = now_ms
            self.refusals[letter.reason] += 1

    def _outcome(self, record: Record, now_ms: int) -> None:
        self.labels.arrive(decode_outcome(record).event_id, now_ms)

    def _escalation(self, record: Record, now_ms: int) -> None:
        del now_ms
        if isinstance(decode_any_case(record), StepCase):
            self.people_asked += 1
        else:
            self.escalations += 1

    def _notification(self, record: Record, now_ms: int) -> None:
        del record, now_ms
        self.notifications += 1
