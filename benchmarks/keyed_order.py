"""Whether events of a key keep their order while calls take random times: decisions, checked.

    uv run python benchmarks/keyed_order.py --events 1000000 --jobs 2 --json

The scoring stage of a worker in process, over the embedded broker's own logic, on a virtual clock:
three models in two plans, whose calls take from nothing to 60 ms and now and then seconds, so that
batches overtake each other, are parked, and come back. Every event carries its number; the
decisions of each key, as a reader of committed records sees them, must come in its order, once.
Leaves with 1 where one did not. All that was ever written stays in memory, so many events go in
rounds of `--round`, each with chance of its own and a world of its own; `--jobs` rounds at once.
With `--steps-max` lanes park that few, and read no faster than models answer: none may be late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import orjson
import structlog

from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import Ask, Fallback, Parallel
from batuta.agents.selection.choosing import Weighted
from batuta.schemas import codec
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Parking
from batuta.schemas.topics import Topics, TopicSpec
from batuta.streams.house import House
from batuta.streams.pipelines.finding import find_pipeline
from batuta.streams.rehearsal.plan import Plan, plan_of
from batuta.streams.rehearsal.reading import read_topic
from batuta.streams.rehearsal.recording import Recording
from batuta.streams.rehearsal.seed_run import bury
from batuta.streams.rehearsal.users import Users
from batuta.streams.rehearsal.virtual_loop import VirtualLoop
from batuta.streams.rehearsal.world import Cast, World
from batuta.streams.stages import scoring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.pipelines import LoadedPipeline
    from batuta.schemas.record import Output
    from batuta.streams.app import LaneApp
    from batuta.streams.lanes.stage import AnyStage
    from batuta.streams.rehearsal.outside_world import Unreliable
    from batuta.streams.rehearsal.play import ByTopic
    from batuta.streams.rehearsal.stand_in_app import AnyBatch

#: Virtual time: every lane sees events at this rate, in batches of what came meanwhile.
RATE, TICK_S = 20_000, 0.1
KEYS, PARTITIONS = 5_000, 4
#: What is not decided by then, of virtual time, never is.
DRAIN_S = 120.0
TOPICS = Topics("fraud")
#: So long an event may take where a lane parks few: it waits for its turn, nobody gives it up.
_PATIENT_MS = 100_000


class Slow:
    """Answers after a time drawn at random, or fails."""

    def __init__(self, name: str, inputs: tuple[str, ...], chance: Random, worst_s: float) -> None:
        self.name, self.version, self.inputs = name, f"{name}@0", inputs
        self._chance, self._worst_s = chance, worst_s

    async def answer(self, inputs: Matrix) -> Scores:
        drawn = self._chance.random()
        await asyncio.sleep(self._worst_s * drawn**4)
        if drawn > 0.995:
            raise ModelFailedError("unavailable", "drawn")
        return np.full(len(inputs), 0.25)


class Scoring:
    """The scoring stage alone, as a play."""

    busy_share = 1.0
    kept = recomputed = frozenset[str]()

    def __init__(
        self, shipped: LoadedPipeline, unreliable: Unreliable, steps_max: int | None
    ) -> None:
        chance = unreliable.chance
        seen = shipped.plan.inputs[shipped.plan.model]
        self._models = {
            "quick": Slow("quick", seen, chance, 0.0),
            "middling": Slow("middling", seen, chance, 0.06),
            "slow": Slow("slow", seen, chance, 3.0),
        }
        fast, both = Ask("quick"), Parallel((Ask("quick"), Ask("middling")), "mean", (1.0, 1.0), 1)
        plans = {"fast": fast, "both": both, "deep": Fallback((Ask("slow"), Ask("middling")))}
        chooser = Weighted("order", {"fast": 0.8, "both": 0.15, "deep": 0.05}, ())
        plan = replace(shipped.plan, delegating=Delegating(plans, chooser))
        self._shipped = replace(shipped, plan=plan)
        if steps_max is not None:
            parking = Parking(deadline_ms=_PATIENT_MS, steps_max=steps_max)
            pipeline = shipped.pipeline.model_copy(update={"parking": parking})
            self._shipped = replace(self._shipped, pipeline=pipeline)

    def topics(self, partitions: int) -> Sequence[TopicSpec]:
        return TOPICS.declared(partitions)

    def source_records(self, plan: Plan) -> Sequence[Output]:
        del plan
        return ()

    def build(self, app: LaneApp) -> None:
        scoring(app, House(self._shipped, self._models, ()))

    def unbalanced(self, read: ByTopic) -> Iterator[str]:
        del read
        return iter(())


class Unrecorded(Recording):
    """Keeps nothing: a million events are many."""

    def saw(self, worker: str, stage: AnyStage, batch: AnyBatch) -> None:
        """Look away."""


class Sent(Users):
    """Sends ingested events, and remembers how many of each key."""

    def __init__(self, world: World, shipped: LoadedPipeline, count: int) -> None:
        super().__init__(world.house, ())
        self._loop, self._count, self._seed = world.loop, count, world.plan.seed
        self._names = tuple(name for name in shipped.feature_names if name.startswith("card_"))
        self.by_key: Counter[str] = Counter()

    async def send(self) -> None:
        """Send everything, at a steady rate of virtual time."""
        sent, chance, began_s = 0, np.random.default_rng(self._seed), self._loop.time()
        place = PartitionOf(PARTITIONS)
        while sent < self._count:
            due = min(int((self._loop.time() - began_s) * RATE) + 1, self._count)
            keys = (chance.zipf(1.3, due - sent) % KEYS).tolist()
            await self._send(
                [self._output(sent + n, f"t{key}", place) for n, key in enumerate(keys)]
            )
            self.acknowledged.clear()
            sent = due
            await asyncio.sleep(TICK_S)

    def _output(self, number: int, key: str, place: PartitionOf) -> Output:
        turn = self.by_key[key]
        self.by_key[key] += 1
        data = {
            "transaction_id": f"{key}-{turn}",
            "amount": 1.0,
            "card_id": "c",
            "terminal_id": key,
        }
        data |= {"event_time": "2018-04-01T00:00:00.000Z", "currency": "EUR", "channel": "pos"}
        time_ms = 1_522_540_800_000 + number
        features = dict.fromkeys(self._names, 1.0)
        event = Ingested(f"{key}-{turn}", "c", key, time_ms, time_ms, "default", data, features)
        output = codec.encode_ingested(event, TOPICS.ingested)
        assert output.key is not None
        return output._replace(partition=place(output.key))


@dataclass(frozen=True)
class Found:
    """What came of some events.

    Attributes:
        decisions: one per event, in its key's order; `order_violations`: those that are not so.
        keys_incomplete: keys of which not every event was decided last in its turn.
        said: how many decisions by plan; of them, how many without a model's answer, and how many
            for which it was late.
        troubles: what the world itself found wrong.
    """

    events: int = 0
    decisions: int = 0
    keys: int = 0
    order_violations: int = 0
    keys_incomplete: int = 0
    said: Mapping[str, int] = field(default_factory=dict[str, int])
    troubles: Sequence[str] = ()
    cpu_s: float = 0.0

    @property
    def in_order(self) -> bool:
        """Whether every event was decided once, in its turn."""
        wrong = self.order_violations or self.keys_incomplete or self.troubles
        return not wrong and self.decisions == self.events

    def __add__(self, other: Found) -> Found:
        return Found(
            self.events + other.events,
            self.decisions + other.decisions,
            self.keys + other.keys,
            self.order_violations + other.order_violations,
            self.keys_incomplete + other.keys_incomplete,
            dict(Counter(self.said) + Counter(other.said)),
            (*self.troubles, *other.troubles),
            round(self.cpu_s + other.cpu_s, 1),
        )


async def rehearsed(world: World, users: Sent) -> Found:
    world.recording = Unrecorded(world.loop.time)
    world.declare_topics()
    world.start_worker()
    await users.send()
    until_s = world.loop.time() + DRAIN_S
    while world.unread() and world.loop.time() < until_s:  # noqa: ASYNC110 - of virtual time
        await asyncio.sleep(1.0)
    found = checked(world, users)
    await bury(world)
    return found


def checked(world: World, users: Sent) -> Found:
    """Compare the decisions with what was sent; each key's in the order they were committed."""
    seen: Counter[str] = Counter()
    said: Counter[str] = Counter()
    violations = 0
    for record in read_topic(world.house, TOPICS.decisions).records:
        decision = orjson.loads(record.value or b"{}")
        key, _, turn = decision["event_id"].rpartition("-")
        violations += seen[key] != int(turn)
        seen[key] = int(turn) + 1
        said[decision["selection"]["plan"]] += 1
        said["of_them_failed_or_late"] += decision["reasons"][0].startswith("model_")
        said["of_them_late"] += decision["reasons"][0] == "model_late"
    return Found(
        events=sum(users.by_key.values()),
        decisions=sum(said[plan] for plan in ("fast", "both", "deep")),
        keys=len(users.by_key),
        order_violations=violations,
        keys_incomplete=sum(seen[key] != count for key, count in users.by_key.items()),
        said=dict(said),
        troubles=[str(one) for one in world.happenings.violations],
    )


def run(events: int, seed: int = 1, steps_max: int | None = None) -> Found:
    """Send so many events through a worker; return what came of them.

    Args:
        events: how many.
        seed: of the order of keys, and of how long calls take.
        steps_max: a lane parks so many steps at most; as the pipeline has it where it is None.
    """
    loop = VirtualLoop(calls_max=1_000_000_000)
    shipped = find_pipeline("fraud").loaded
    settings = {"batch_records_max": 1_000, "batches_in_flight_max": 3}
    plan = replace(plan_of(1), seed=seed, partitions=PARTITIONS, workers=1, settings=settings)
    cast = Cast((lambda unreliable: Scoring(shipped, unreliable, steps_max),))
    began_s = time.process_time()
    try:
        world = World(loop, plan, cast, keep_trace=False)
        found = loop.run_until_complete(rehearsed(world, Sent(world, shipped, events)))
    finally:
        loop.close()
    return replace(found, cpu_s=round(time.process_time() - began_s, 1))


def run_rounds(events: int, options: argparse.Namespace) -> Found:
    """Send so many events through worlds of at most `options.round`, a few at once; add up."""
    sizes = [min(options.round, events - begun) for begun in range(0, events, options.round)]
    whole = Found()
    # Fresh processes: what a round leaves behind is gone with it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, _quiet, max_tasks_per_child=1) as pool:
        seeds = range(options.seed, options.seed + len(sizes))
        begun = pool.map(run, sizes, seeds, repeat(options.steps_max))
        for number, found in enumerate(begun, start=1):
            whole += found
            told = f"{whole.events:,} events, {whole.order_violations} violations"
            print(f"round {number} of {len(sizes)}: {told}", file=sys.stderr, flush=True)
    return whole


def _quiet() -> None:
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(
        wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--round", type=int, default=50_000, help="events in one world")
    parser.add_argument("--jobs", type=int, default=1, help="worlds at once, each on a core")
    parser.add_argument("--steps-max", type=int, help="a lane parks so many; else as shipped")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run_rounds(options.events, options)
    told = asdict(found)
    for name, value in () if options.json else told.items():
        print(f"{name:24} {value}")
    if options.json:
        print(json.dumps(told))
    sys.exit(0 if found.in_order else 1)


if __name__ == "__main__":
    main()
