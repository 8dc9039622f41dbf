"""The invariants: what must be true once everything has healed and is quiet.

Some are watched all along as well: committed offsets never go back, agents live.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from batuta.schemas import codec
from batuta.schemas.record import Record
from batuta.schemas.topics import Topics
from batuta.streams.rehearsal.ends import unbalanced
from batuta.streams.rehearsal.reading import read_topic
from batuta.streams.rehearsal.users import Users
from batuta.streams.rehearsal.world import World

__all__ = ["INVARIANTS", "Findings", "check_all"]

#: How many details of one invariant are told.
_TOLD_MAX: Final = 5


class Findings:
    """What lies on the broker at the end.

    Attributes:
        read: every committed record, by topic.
    """

    def __init__(self, world: World, users: Users) -> None:
        self.world = world
        self.users = users
        self.read: Mapping[str, Sequence[Record]] = {
            topic: read_topic(world.house, topic) for topic in world.topics
        }
        self.topics = Topics(world.cast.shipped.pipeline.name)


def acknowledged_records_are_kept(findings: Findings) -> Iterator[str]:
    """Whatever the broker confirmed is there, as it was sent."""
    kept = {
        (record.topic, record.partition, record.offset): (record.key, record.value)
        for topic in {place[0] for place in findings.users.acknowledged}
        for record in findings.read[topic]
    }
    for place, sent in findings.users.acknowledged.items():
        if kept.get(place) != sent:
            yield f"{place} holds {kept.get(place)!r}, and {sent!r} was confirmed there"


def every_event_ends_once(findings: Findings) -> Iterator[str]:
    """See `ends`."""
    yield from unbalanced(findings.world.cast.shipped, findings.read)


def nobody_is_told_too_little(findings: Findings) -> Iterator[str]:
    """Every notification was delivered, or is a dead letter."""
    taken = set(findings.world.sink.taken)
    letters = map(codec.decode_dead_letter, findings.read[findings.topics.deadletters])
    buried = {
        (letter.record.partition, letter.record.offset)
        for letter in letters
        if letter.record.topic == findings.topics.notifications
    }
    for record in findings.read[findings.topics.notifications]:
        known = codec.decode_notification(record).notification_id in taken
        if not known and (record.partition, record.offset) not in buried:
            yield f"{record.topic}[{record.partition}]@{record.offset} was never delivered"


def no_lane_stops(findings: Findings) -> Iterator[str]:
    """No lane came upon trouble of our own."""
    for worker in findings.world.everybody():
        for source in worker.app.sources:
            if source.failure is not None:
                yield f"{source.stage.group} of {worker.name}: {source.failure!r}"


def nothing_is_left_uncaught(findings: Findings) -> Iterator[str]:
    """No call of the loop failed without anybody looking."""
    yield from findings.world.loop.failures


#: Each with the name it is reported under.
INVARIANTS: Final[dict[str, Callable[[Findings], Iterator[str]]]] = {
    "acknowledged records are kept": acknowledged_records_are_kept,
    "every event ends once": every_event_ends_once,
    "every notification is delivered": nobody_is_told_too_little,
    "no lane stops": no_lane_stops,
    "nothing is left uncaught": nothing_is_left_uncaught,
}


def check_all(world: World, users: Users) -> None:
    """Check every invariant; violations go to the world's happenings."""
    findings = Findings(world, users)
    for name, invariant in INVARIANTS.items():
        told = list(invariant(findings))
        for detail in told[:_TOLD_MAX]:
            world.happenings.violated(name, detail)
        if len(told) > _TOLD_MAX:
            world.happenings.violated(name, f"and {len(told) - _TOLD_MAX} more")
