"""The invariants: what must be true once everything has healed and is quiet.

Some are watched all along as well: committed offsets never go back, agents live.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from batuta.schemas.record import Record
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.reading import read_topic
from batuta.streams.rehearsal.replaying import Replay, replay
from batuta.streams.rehearsal.users import Users
from batuta.streams.rehearsal.world import World

__all__ = ["INVARIANTS", "Findings", "check_all"]

#: How many details of one invariant are told.
_TOLD_MAX: Final = 5

#: A lane's stage, and everything in its memory, as changelog records.
Held = tuple[AnyStage, Mapping[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is at the end.

    Attributes:
        read: every committed record, by topic.
        held: what each lane at work remembered then, by its changelog's partition. Lanes with a
            batch under way are left out: theirs is between two states.
        replay: what the lanes should have come to.
    """

    world: World
    users: Users
    read: Mapping[str, Sequence[Record]]
    held: Mapping[tuple[str, int], Held]
    replay: Replay


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


def everything_can_be_recomputed(findings: Findings) -> Iterator[str]:
    """Every commit is one of a batch that an agent had."""
    yield from findings.replay.faults()


def outputs_equal_a_recomputation(findings: Findings) -> Iterator[str]:
    """Nothing is missing, nothing is there twice, nothing was decided on another state."""
    yield from findings.replay.outputs()


def order_per_key_is_kept(findings: Findings) -> Iterator[str]:
    """What a lane writes under one key stands in the order in which it was read."""
    yield from findings.replay.order()


def state_equals_a_recomputation(findings: Findings) -> Iterator[str]:
    """The changelog says what committed input comes to."""
    yield from findings.replay.states()


def state_equals_a_fresh_restore(findings: Findings) -> Iterator[str]:
    """What a lane holds in memory is what its next owner would read back from the changelog."""
    for (topic, partition), (stage, held) in findings.held.items():
        records = [each for each in findings.read[topic] if each.partition == partition]
        fresh = LaneMemory(stage)
        fresh.load_many([each.key or b"" for each in records], [each.value for each in records])
        deque(fresh.settle(), maxlen=0)
        restored = dict(fresh.dump())
        for key in sorted(held.keys() | restored.keys()):
            if held.get(key) != restored.get(key):
                yield (
                    f"{topic}[{partition}] under {key!r}: held {held.get(key)!r:.80},"
                    f" restored {restored.get(key)!r:.80}"
                )


def everything_ends_once(findings: Findings) -> Iterator[str]:
    """What users sent came to exactly one end."""
    for play in findings.world.plays:
        yield from play.unbalanced(findings.read)


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
    "everything ends once": everything_ends_once,
    "every commit can be recomputed": everything_can_be_recomputed,
    "outputs equal a recomputation": outputs_equal_a_recomputation,
    "order per key is kept": order_per_key_is_kept,
    "state equals a recomputation": state_equals_a_recomputation,
    "state equals a fresh restore": state_equals_a_fresh_restore,
    "no lane stops": no_lane_stops,
    "nothing is left uncaught": nothing_is_left_uncaught,
}


async def check_all(world: World, users: Users) -> None:
    """Check every invariant; violations go to the world's happenings."""
    topics = {topic: read_topic(world.house, topic) for topic in world.topics}
    read = {topic: found.records for topic, found in topics.items()}
    held = _held(world)
    findings = Findings(world, users, read, held, await replay(world, topics))
    for name, invariant in INVARIANTS.items():
        told = list(invariant(findings))
        for detail in told[:_TOLD_MAX]:
            world.happenings.violated(name, detail)
        if len(told) > _TOLD_MAX:
            world.happenings.violated(name, f"and {len(told) - _TOLD_MAX} more")


def _held(world: World) -> dict[tuple[str, int], Held]:
    return {
        (stage.changelog, partition): (stage, dict(memory.dump()))
        for stage, partition, memory in world.memories()
        if stage.changelog is not None and not memory.is_open
    }
