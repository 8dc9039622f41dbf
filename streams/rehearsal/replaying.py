"""What the recomputation has to say of a whole world: outputs, their order, and the state."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, Record
from batuta.schemas.watermark import is_watermark
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.recomputation import (
    LaneHistory,
    Recomputed,
    buried_spots,
    normalized,
    recompute,
    steps_of,
)
from batuta.streams.rehearsal.recording import Lane
from batuta.streams.rehearsal.world import World

__all__ = ["Replay", "replay"]

#: Tags of the runtime's own tables lie below; they are not the agents'.
_STAGE_TAGS_FROM = b" "

#: Topic, partition, key, and what it says.
Said = tuple[str, int, bytes | None, bytes]


@dataclass(frozen=True, slots=True)
class Replay:
    """Every lane, recomputed.

    Attributes:
        read: every committed record, by topic.
        lanes: what each should have come to.
        partition_of: where a key lies, by topic.
    """

    read: Mapping[str, Sequence[Record]]
    stages: Mapping[str, AnyStage]
    lanes: Mapping[Lane, Recomputed]
    partition_of: Mapping[str, PartitionOf]

    def faults(self) -> Iterator[str]:
        """Yield what could not be recomputed."""
        for recomputed in self.lanes.values():
            yield from recomputed.faults

    def outputs(self) -> Iterator[str]:
        """Yield outputs that are missing, and those that should not be there."""
        expected = Counter(
            self._said_of(output) for lane in self.lanes.values() for output in lane.outputs
        )
        topics = {topic for topic, _, _, _ in expected}
        found = Counter(
            _said(record) for topic in sorted(topics) for record in _plain(self.read[topic])
        )
        for said, count in (expected - found).items():
            yield f"missing {count} of {_shown(said)}"
        for said, count in (found - expected).items():
            yield f"{count} too many of {_shown(said)}"

    def order(self) -> Iterator[str]:
        """Yield outputs that stand before one of the same key that should stand before them."""
        topics = {output.topic for lane in self.lanes.values() for output in lane.outputs}
        places: defaultdict[Said, deque[int]] = defaultdict(deque)
        for topic in sorted(topics):
            for place, record in enumerate(_plain(self.read[topic])):
                places[_said(record)].append(place)
        for lane, recomputed in self.lanes.items():
            last: dict[tuple[str, int, bytes | None], int] = {}
            for said in map(self._said_of, recomputed.outputs):
                if not places[said]:
                    continue  # missing, which `outputs` tells
                place, before = places[said].popleft(), last.get(said[:3], -1)
                if place < before:
                    yield f"{lane} wrote {_shown(said)} before what came before it"
                last[said[:3]] = max(place, before)

    def states(self) -> Iterator[str]:
        """Yield keys of changelogs that do not say what they should."""
        for (group, partition), recomputed in self.lanes.items():
            topic = self.stages[group].changelog
            if topic is None:
                continue
            found = changelog(self.read[topic], partition)
            for key in sorted(found.keys() | recomputed.changelog.keys()):
                if found.get(key) != recomputed.changelog.get(key):
                    yield (
                        f"{topic}[{partition}] has {_brief(found.get(key))} under {key!r},"
                        f" recomputed {_brief(recomputed.changelog.get(key))}"
                    )

    def _said_of(self, output: Output) -> Said:
        partition = output.partition
        if partition is None:
            partition = self.partition_of[output.topic](output.key) if output.key else 0
        return output.topic, partition, output.key, normalized(output.value)


async def replay(world: World, read: Mapping[str, Sequence[Record]]) -> Replay:
    """Recompute every lane of a world that is quiet."""
    agents = world.app("replay", world.house.wall_ms).agents
    steps = steps_of(world.house.steps)
    partition_of = {name: PartitionOf(spec.partitions) for name, spec in world.topics.items()}
    recomputed = frozenset[str]().union(*(play.recomputed for play in world.plays))
    lanes: dict[Lane, Recomputed] = {}
    for lane in sorted(steps):
        if lane[0] not in recomputed:
            continue
        stage, function = agents[lane[0]]
        history = LaneHistory(
            lane=lane,
            steps=steps[lane],
            attempts=world.recording.attempts[lane],
            records=_inputs(stage, lane[1], read),
            buried=buried_spots(lane, stage, read[stage.deadletters]),
        )
        lanes[lane] = await recompute(stage, function, history)
    return Replay(read, {group: stage for group, (stage, _) in agents.items()}, lanes, partition_of)


def changelog(records: Sequence[Record], partition: int) -> dict[bytes, bytes]:
    """Return the last value of each key of a stage's tables in one partition."""
    last: dict[bytes, bytes | None] = {
        record.key or b"": record.value for record in records if record.partition == partition
    }
    return {
        key: value
        for key, value in last.items()
        if value is not None and key[:1] >= _STAGE_TAGS_FROM
    }


def _inputs(
    stage: AnyStage, partition: int, read: Mapping[str, Sequence[Record]]
) -> dict[tuple[str, int], Record]:
    return {
        (topic, record.offset): record
        for topic in stage.inputs
        for record in _plain(read[topic])
        if record.partition == partition
    }


def _plain(records: Sequence[Record]) -> Iterator[Record]:
    """Yield records without watermarks."""
    for record in records:
        if not is_watermark(record):
            yield record


def _said(record: Record) -> Said:
    return record.topic, record.partition, record.key, normalized(record.value)


def _shown(said: Said) -> str:
    topic, partition, key, value = said
    return f"{topic}[{partition}] {key!r} {value[:160]!r}"


def _brief(value: bytes | None) -> str:
    return "nothing" if value is None else f"{len(value)} bytes {value[:24].hex()}"
