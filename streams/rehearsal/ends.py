"""Where each event ends: in exactly one of acted, no action, review, dead letter.

An account is kept per event id, from the topics alone:

    source records = ingested (at most once) + put aside as late + dead letters of ingestion
                     + duplicates dropped
    ingested       = decisions + dead letters of scoring
    actions        at most one per decision; that it is there is for the recomputation to say
    to review      = cases + dead letters of escalation

A source record without a readable id ends as exactly one dead letter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from batuta.agents.pipelines import Shipped
from batuta.schemas import codec
from batuta.schemas.record import Record
from batuta.schemas.review import ReviewCase
from batuta.schemas.topics import Topics
from batuta.schemas.watermark import is_watermark
from batuta.streams.rehearsal.play import ByTopic

__all__ = ["Ends", "ends_of", "unbalanced"]


@dataclass
class Ends:
    """What became of one event id.

    Attributes:
        records: source records with this id.
        refused: dead letters per stage.
        late: put aside, where the pipeline's rule says so.
        outcomes: of its decisions.
    """

    records: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    late: int = 0
    ingested: int = 0
    outcomes: list[str] = field(default_factory=list[str])
    actions: int = 0
    cases: int = 0

    def faults(self) -> Iterator[str]:
        """Yield what does not balance."""
        if self.ingested > 1:
            yield f"ingested {self.ingested} times"
        dropped = self.records - self.ingested - self.late - self.refused["ingestion"]
        if dropped < 0:
            yield f"{-dropped} more ends than the {self.records} records it came in"
        if dropped and not self.ingested + self.late:
            yield f"{dropped} of {self.records} records dropped, and none was ingested"
        decisions = len(self.outcomes)
        if decisions + self.refused["scoring"] != self.ingested:
            yield (
                f"ingested {self.ingested} times, decided {decisions} times,"
                f" refused by scoring {self.refused['scoring']} times"
            )
        if self.actions > decisions:
            yield f"decided {decisions} times, acted on {self.actions} times"
        to_review = self.outcomes.count("review")
        if self.cases + self.refused["escalation"] < to_review or self.cases > to_review:
            yield (
                f"{to_review} decisions to review, {self.cases} cases,"
                f" refused by escalation {self.refused['escalation']} times"
            )


def unbalanced(shipped: Shipped, read: ByTopic) -> Iterator[str]:
    """Yield every account that does not balance.

    Args:
        shipped: the pipeline.
        read: every committed record of its topics.
    """
    for event_id, ends in sorted(ends_of(shipped, read).items()):
        for fault in ends.faults():
            yield f"{event_id}: {fault}"


def ends_of(shipped: Shipped, read: ByTopic) -> dict[str, Ends]:
    """Account for every event id that stands on any topic."""
    topics = Topics(shipped.pipeline.name)
    ends: defaultdict[str, Ends] = defaultdict(Ends)
    names = _Names(shipped)
    for record in read[topics.events]:
        ends[names.of(record)].records += 1
    for record in read[topics.rekeyed]:
        names.of(record)
    for record in read[topics.late]:
        ends[names.of(record)].late += 1
    for record in read[topics.ingested]:
        if not is_watermark(record):
            ends[names.of(record)].ingested += 1
    for record in read[topics.decisions]:
        ends[names.of(record)].outcomes.append(codec.decode_decision(record).outcome)
    for record in read[topics.actions]:
        ends[str(orjson.loads(record.value or b"{}")["event_id"])].actions += 1
    # A question to a person is no end: its event waits.
    opened = map(codec.decode_any_case, read[topics.escalations])
    for case in (each for each in opened if isinstance(each, ReviewCase)):
        ends[case.decision.event_id].cases += 1
    letters = map(codec.decode_dead_letter, read[topics.deadletters])
    # What a label said is no end of its event.
    for letter in (each for each in letters if each.record.topic != topics.outcomes):
        ends[names.of(letter.record)].refused[letter.stage] += 1
    return dict(ends)


class _Names:
    """Tells of each record which event it is about, by what it says or else by where it lies."""

    def __init__(self, shipped: Shipped) -> None:
        topics = Topics(shipped.pipeline.name)
        self._source = codec.EventCodec(shipped.pipeline.source, shipped.data)
        self._of_event = {topics.events, topics.rekeyed, topics.late}
        self._of_ingested = topics.ingested
        self._of_decision = topics.decisions

    def of(self, record: Record) -> str:
        """Return the event's id."""
        if record.topic in self._of_event:
            events = self._source.decode([record], record.timestamp_ms).events
            found = [event.id for event in events]
        elif record.topic == self._of_ingested:
            found = [item.event_id for item in codec.decode_ingested([record]).items]
        elif record.topic == self._of_decision:
            found = [item.event_id for item in codec.decode_decisions([record]).items]
        else:
            found = []
        return found[0] if found else f"{record.topic}[{record.partition}]@{record.offset}"
