"""What the recomputation has to say of a whole world: outputs, their order, and the state."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from batuta.agents.reasons import MODEL_FAILED, MODEL_LATE
from batuta.schemas import codec
from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, Record
from batuta.schemas.watermark import is_watermark
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.reading import Spot, TopicRead
from batuta.streams.rehearsal.recomputation import (
    STAGE_TAGS_FROM,
    LaneHistory,
    Recomputed,
    buried_spots,
    recompute,
    says,
    steps_of,
)
from batuta.streams.rehearsal.recording import Lane
from batuta.streams.rehearsal.world import World

__all__ = ["Replay", "replay"]


#: Topic, partition, key, what it says, and the transactional id it was written under.
Said = tuple[str, int, bytes | None, bytes, str]


@dataclass(frozen=True)
class Replay:
    """Every lane, recomputed.

    Attributes:
        read: every committed record, by topic.
        writers: under which transactional id each of them was written.
        lanes: what each should have come to.
        partition_of: where a key lies, by topic.
        keys: the key under which a group read of each event.
        fallen: events that were decided without their model.
        left_out: groups whose input does not say all that they were given.
        found: what stands on the topics that the lanes write to, each with its place.
        expected: what each lane should have written, each with what it says.
    """

    read: Mapping[str, Sequence[Record]]
    writers: Mapping[Spot, str]
    stages: Mapping[str, AnyStage]
    lanes: Mapping[Lane, Recomputed]
    partition_of: Mapping[str, PartitionOf]
    keys: Mapping[str, Mapping[str, bytes | None]]
    fallen: frozenset[str]
    left_out: frozenset[str] = frozenset()

    @cached_property
    def found(self) -> Sequence[tuple[Said, int]]:
        """Read every output topic once; what groups wrote that are left out stands aside."""
        topics = {output.topic for lane in self.lanes.values() for output in lane.outputs}
        return [
            ((topic, record.partition, record.key, said, self._writer_of(record)), place)
            for topic in sorted(topics)
            for place, record in enumerate(_plain(self.read[topic]))
            if self._writer_of(record).rpartition("-")[0] not in self.left_out
            and (said := says(record.value, self.fallen)) is not None
        ]

    @cached_property
    def expected(self) -> Mapping[Lane, Sequence[tuple[Output, Said]]]:
        """Read every recomputed output once; those that are told to people are left out."""
        return {
            lane: [
                (output, said)
                for output in recomputed.outputs
                if (said := self._said_of(output, lane)) is not None
            ]
            for lane, recomputed in self.lanes.items()
        }

    def faults(self) -> Iterator[str]:
        """Yield what could not be recomputed."""
        for recomputed in self.lanes.values():
            yield from recomputed.faults

    def outputs(self) -> Iterator[str]:
        """Yield outputs that are missing, and those that should not be there."""
        expected = Counter(said for written in self.expected.values() for _, said in written)
        if not expected:
            yield "nothing at all was written again: the recomputation is blind"
        found = Counter(said for said, _ in self.found)
        for said, count in (expected - found).items():
            yield f"missing {count} of {_shown(said)}"
        for said, count in (found - expected).items():
            yield f"{count} too many of {_shown(said)}"

    def order(self) -> Iterator[str]:
        """Yield outputs that stand before what was read before them under the same key."""
        places: defaultdict[Said, deque[int]] = defaultdict(deque)
        for standing, place in self.found:
            places[standing].append(place)
        for lane, written in self.expected.items():
            last: dict[tuple[str, int, bytes | None], int] = {}
            for output, said in written:
                if not places[said]:
                    continue  # missing, which `outputs` tells
                row = (said[0], said[1], self._read_under(lane, output))
                place, before = places[said].popleft(), last.get(row, -1)
                if place < before:
                    yield f"{lane} wrote {_shown(said)} before what came before it"
                last[row] = max(place, before)

    def _read_under(self, lane: Lane, output: Output) -> bytes | None:
        """Return the key under which a lane read what it wrote this about; else that it wrote."""
        return self.keys.get(lane[0], {}).get(_event_id(output.value), output.key)

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

    def _writer_of(self, record: Record) -> str:
        return self.writers.get((record.topic, record.partition, record.offset), "nobody known")

    def _said_of(self, output: Output, lane: Lane) -> Said | None:
        said = says(output.value, self.fallen)
        if said is None:
            return None
        partition = output.partition
        if partition is None:
            partition = self.partition_of[output.topic](output.key) if output.key else 0
        return output.topic, partition, output.key, said, f"{lane[0]}-{lane[1]}"


async def replay(world: World, topics: Mapping[str, TopicRead]) -> Replay:
    """Recompute every lane of a world that is quiet."""
    read = {topic: found.records for topic, found in topics.items()}
    writers = {spot: who for found in topics.values() for spot, who in found.writers.items()}
    agents = world.app("replay", world.house.wall_ms).agents
    steps = steps_of(world.house.steps)
    partition_of = {name: PartitionOf(spec.partitions) for name, spec in world.topics.items()}
    recomputed = frozenset[str]().union(*(play.recomputed for play in world.plays))
    letters = _Letters(read)
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
            buried=buried_spots(lane, stage, letters.of(stage.deadletters)),
        )
        lanes[lane] = await recompute(stage, function, history)
    stages = {group: stage for group, (stage, _) in agents.items()}
    keys = {group: _keys(stage, read) for group, stage in stages.items()}
    left_out = frozenset(stages) - recomputed
    return Replay(read, writers, stages, lanes, partition_of, keys, _fallen(read), left_out)


class _Letters:
    """The dead letters of each topic, decoded once for all lanes."""

    def __init__(self, read: Mapping[str, Sequence[Record]]) -> None:
        self._read = read
        self._letters: dict[str, list[DeadLetter]] = {}

    def of(self, topic: str) -> list[DeadLetter]:
        """Return those of one topic."""
        if topic not in self._letters:
            self._letters[topic] = [codec.decode_dead_letter(each) for each in self._read[topic]]
        return self._letters[topic]


def changelog(records: Sequence[Record], partition: int) -> dict[bytes, bytes]:
    """Return the last value of each key of a stage's tables in one partition."""
    last: dict[bytes, bytes | None] = {
        record.key or b"": record.value for record in records if record.partition == partition
    }
    return {
        key: value for key, value in last.items() if value is not None and key >= STAGE_TAGS_FROM
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


def _keys(stage: AnyStage, read: Mapping[str, Sequence[Record]]) -> dict[str, bytes | None]:
    """Return the key under which a stage reads of each event, where its input names events."""
    return {
        event_id: record.key
        for topic in stage.inputs
        for record in read[topic]
        if (event_id := _event_id(record.value))
    }


def _event_id(value: bytes | None) -> str:
    """Return which event a record is about, where it says so."""
    try:
        said = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return ""
    return str(said.get("event_id", "")) if isinstance(said, dict) else ""


def _fallen(read: Mapping[str, Sequence[Record]]) -> frozenset[str]:
    """Return the events that were decided without their model."""
    reasons = {MODEL_FAILED, MODEL_LATE}
    return frozenset(
        decision.event_id
        for topic, records in read.items()
        if topic.endswith(".decisions")
        for decision in codec.decode_decisions(records).items
        if decision.reasons[0] in reasons
    )


def _shown(said: Said) -> str:
    topic, partition, key, value, writer = said
    return f"{topic}[{partition}] {key!r} {value[:160]!r} by {writer}"


def _brief(value: bytes | None) -> str:
    return "nothing" if value is None else f"{len(value)} bytes {value[:24].hex()}"
