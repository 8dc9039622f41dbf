"""Windows and counters after five kill -9 are what their log comes to, computed again, exactly.

`--state-events` says how many events; the figure that is published is

    pytest tests/acceptance/test_state_survives.py --state-events 200000
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
import pytest
from aiokafka import TopicPartition
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as Place

from batuta.agents.context import Context
from batuta.schemas.partition import PartitionOf
from batuta.streams.house import House
from batuta.streams.lanes.kafka_log import KafkaLog
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.restore import restore
from batuta.streams.rehearsal.broker_house import Ending
from batuta.streams.rehearsal.recomputation import LaneHistory, Step, recompute
from batuta.streams.rehearsal.recording import Attempt
from batuta.streams.rehearsal.stand_in_app import StandInApp, Surroundings
from batuta.streams.settings import client_options, load_settings
from batuta.streams.stages import ingestion, scoring
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conftest import Crew, Hand, Town

    from batuta.agents.ingestion import IngestionState
    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.state.port import State
    from batuta.agents.understanding.features import Features
    from batuta.agents.understanding.window_sets import WindowSet
    from batuta.schemas.record import Record
    from batuta.streams.lanes.log import Log
    from batuta.streams.lanes.stage import AnyStage
    from batuta.streams.rehearsal.stand_in_app import AgentFunction

PARTITIONS: Final = 4
CARDS, TERMINALS = 5_000, 10_000
KILLS: Final = 5
BATCH: Final = 10_000
PATIENCE_S: Final = 240.0
DAY_MS: Final = 86_400_000
#: 2018-04-01, the day of the first event.
FIRST_MS: Final = 1_522_540_800_000
PER_DAY: Final = 100_000


class Silent:
    """A model that lets every event pass."""

    name = "silent"
    version = "silent@000000000000"
    inputs: tuple[str, ...] = ("amount",)

    async def answer(self, inputs: Matrix) -> Scores:
        return np.zeros(len(inputs))


class Lane(NamedTuple):
    """One lane's state, as restored and as computed again."""

    restored: State
    recomputed: State
    ingested: int


def transaction(number: int) -> dict[str, object]:
    """A valid transaction; some cards and terminals are busier than others."""
    when = FIRST_MS + number // PER_DAY * DAY_MS + number % PER_DAY * (DAY_MS // PER_DAY)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when / 1000))
    return {
        "transaction_id": f"tx-{number:09d}",
        "event_time": f"{stamp}.{when % 1000:03d}Z",
        "card_id": f"c{number * number % CARDS}",
        "terminal_id": f"t{number * 104_729 % TERMINALS}",
        "amount": round(1 + number * 37 % 20_011 / 80, 2),
        "currency": "EUR",
        "channel": "pos",
    }


def publish(town: Town, numbers: range) -> None:
    """Publish where keys belong; every fiftieth event twice, as a producer may."""
    producer, place = Producer({"bootstrap.servers": town.bootstrap}), PartitionOf(PARTITIONS)
    for number in numbers:
        value = transaction(number)
        key = str(value["card_id"]).encode()
        for _ in range(2 if number % 50 == 0 else 1):
            producer.produce(town.topics.events, json.dumps(value), key, partition=place(key))
        if number % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def committed(town: Town, group: str, topic: str) -> int:
    """Sum a group's committed offsets."""
    consumer = Consumer({"bootstrap.servers": town.bootstrap, "group.id": group, "log_level": 0})
    try:
        places = consumer.committed([Place(topic, n) for n in range(PARTITIONS)], timeout=20)
    except KafkaException:
        return 0  # the coordinator is coming up
    finally:
        consumer.close()
    return sum(max(0, place.offset) for place in places)


def ends(town: Town, topic: str) -> int:
    """Sum where a read_committed reader stops."""
    options = {"bootstrap.servers": town.bootstrap, "group.id": "ends", "log_level": 0}
    consumer = Consumer({**options, "isolation.level": "read_committed"})
    try:
        found = [consumer.get_watermark_offsets(Place(topic, n), 20)[1] for n in range(PARTITIONS)]
    except KafkaException:
        return 0  # a worker has yet to create the topic
    finally:
        consumer.close()
    return sum(found)


def behind(town: Town) -> int:
    """How many records ingestion and scoring have still to commit."""
    topics = town.topics
    first = ends(town, topics.events) - committed(town, topics.group("ingestion"), topics.events)
    second = ends(town, topics.ingested) - committed(town, topics.group("scoring"), topics.ingested)
    return first + second


def wait_until_within(town: Town, records: int, hands: Sequence[Hand]) -> None:
    """Return once the workers are no further behind than so many records."""
    deadline = time.monotonic() + PATIENCE_S
    while behind(town) > records:
        said = "\n".join(hand.said()[-2_000:] for hand in hands)
        assert time.monotonic() < deadline, f"{behind(town)} records behind:\n{said}"
        time.sleep(0.1)


def run_and_kill(town: Town, crew: Crew, events: int, chance: random.Random) -> None:
    """Let two workers see all events through, five of them being killed meanwhile."""
    share = events // (KILLS + 1)

    def start() -> Hand:
        stages = ("--stages", "ingestion,scoring")
        return crew.start(town.bootstrap, *stages, batch_records_max=500)

    older, newer = start(), start()
    for kill in range(KILLS):
        publish(town, range(kill * share, (kill + 1) * share))
        # In the middle of this share, whoever has it in hand.
        wait_until_within(town, chance.randrange(share // 4, share), [older, newer])
        older.process.kill()
        older.process.wait()
        older, newer = newer, start()
    publish(town, range(KILLS * share, events))
    wait_until_within(town, 0, [older, newer])
    for hand in (older, newer):
        hand.process.terminate()
        hand.ends_with()


def agents_of(town: Town, log: Log) -> dict[str, tuple[AnyStage, AgentFunction]]:
    """The two stages and their agents, by group, for nothing but computing again."""
    settings = load_settings(bootstrap=town.bootstrap)
    topics = {spec.name: PARTITIONS for spec in town.topics.declared(PARTITIONS)}

    def nothing(*_: object) -> None:
        """Nobody watches."""

    app = StandInApp(Surroundings(settings, topics, log, lambda: 0, nothing, nothing))
    house = House(town.shipped, Silent(), ())
    for stage in (ingestion, scoring):
        stage(app.as_lane_app, house)
    return app.agents


async def records_of(town: Town, topic: str) -> list[list[Record]]:
    """Everything committed on a topic, by partition, in order."""
    found: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    options = client_options(load_settings(bootstrap=town.bootstrap))
    async with TopicReader(options, [topic]) as reader:
        async for records in reader.until_end():
            for record in records:
                found[record.partition].append(record)
    return found


async def computed_again(
    stage: AnyStage, function: AgentFunction, records: Sequence[Record], partition: int
) -> tuple[State, int]:
    """Give all input of a lane to a fresh agent, in batches of another size than it had."""
    now_ms = time.time_ns() // 1_000_000
    place = PartitionOf(PARTITIONS)
    attempts: list[Attempt] = []
    steps: list[Step] = []
    for begin in range(0, len(records), BATCH):
        part = records[begin : begin + BATCH]
        context = Context(now_ms, partition, place, stage.open_state())
        attempts.append(Attempt("again", 0.0, part, context))
        move = (part[0].offset, part[-1].offset + 1)
        steps.append(Step(Ending("again/", 0.0), {part[0].topic: move}))
    by_spot = {(record.topic, record.offset): record for record in records}
    lane = (stage.group, partition)
    history = LaneHistory(lane, steps, attempts, by_spot, frozenset())
    found = await recompute(stage, function, history)
    assert found.faults == []
    state = stage.open_state()
    for key, value in found.changelog.items():
        state.load(key, value)
    return state, sum(output.topic.endswith(".ingested") for output in found.outputs)


async def lanes_of(town: Town, stage_name: str) -> list[Lane]:
    """Each lane of a stage: what stands in its changelog, and what its input comes to."""
    log = KafkaLog(load_settings(bootstrap=town.bootstrap))
    stage, function = agents_of(town, log)[town.topics.group(stage_name)]
    events = {"ingestion": town.topics.events, "scoring": town.topics.ingested}
    inputs = await records_of(town, events[stage_name])
    assert stage.changelog is not None
    lanes: list[Lane] = []
    for partition, records in enumerate(inputs):
        place = TopicPartition(stage.changelog, partition)
        restored = await restore(log, place, partial(LaneMemory, stage), lambda _: None)
        state, ingested = await computed_again(stage, function, records, partition)
        lanes.append(Lane(restored.state.state, state, ingested))
    return lanes


def features(
    state: State, windows: WindowSet, by: str, keys: Sequence[str], at_ms: int
) -> Features:
    """What an event of each key would see at a time; nothing of it is kept."""
    state.begin()
    data = [{by: key, "amount": 1.0} for key in keys]
    seen = windows.observe(keys, np.full(len(keys), at_ms, np.int64), data)
    state.changes(at_ms)
    state.rollback()
    return seen


def check_windows(lane: Lane, by: str, keys: Sequence[str], last_ms: int) -> Mapping[str, Features]:
    """The same counts and means, to the bit, now and as the windows move on."""
    restored = cast("IngestionState", lane.restored)
    recomputed = cast("IngestionState", lane.recomputed)
    found = [
        (
            features(restored, restored.windows, by, keys, last_ms + later_ms),
            features(recomputed, recomputed.windows, by, keys, last_ms + later_ms),
        )
        for later_ms in (1, DAY_MS, 7 * DAY_MS + 1, 20 * DAY_MS)
    ]
    for ours, theirs in found:
        np.testing.assert_array_equal(ours, theirs)
    assert len({ours.tobytes() for ours, _ in found}) > 1, "windows move"
    return dict(zip(restored.windows.names, found[0][0].T, strict=True))


@pytest.fixture
def events(request: pytest.FixtureRequest) -> int:
    """How many events are seen through."""
    return int(request.config.getoption("--state-events", default=30_000) or 30_000)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_state_is_what_its_log_comes_to(fraud_town: Town, crew: Crew, events: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    run_and_kill(fraud_town, crew, events, random.Random(seed))
    asyncio.run(compare(fraud_town, events))


async def compare(town: Town, events: int) -> None:
    all_events = [transaction(number) for number in range(events)]
    last_ms = FIRST_MS + (events - 1) // PER_DAY * DAY_MS + DAY_MS
    place = PartitionOf(PARTITIONS)
    spent = Counter(str(event["card_id"]) for event in all_events)
    for partition, lane in enumerate(await lanes_of(town, "ingestion")):
        cards = sorted(card for card in spent if place(card.encode()) == partition)
        seen = check_windows(lane, "card_id", cards, last_ms)
        # The probe itself is one of those counted.
        expected = [spent[card] + 1 for card in cards]
        assert seen["card_count_30d"].tolist() == expected
        ids = [e for e in all_events if place(str(e["card_id"]).encode()) == partition]
        assert lane.ingested == len(ids), "computed again, each event is new once"
        restored = cast("IngestionState", lane.restored).duplicates
        again = cast("IngestionState", lane.recomputed).duplicates
        assert restored.entries() == again.entries() == len(ids)
    terminals = Counter(str(event["terminal_id"]) for event in all_events)
    total = 0
    for lane in await lanes_of(town, "scoring"):
        seen = check_windows(lane, "terminal_id", sorted(terminals), last_ms)
        total += sum(int(n) - 1 for n in seen["terminal_count_30d"].tolist())
    assert total == events
