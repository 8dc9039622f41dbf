"""What orchestration costs beside the model: understand, select, delegate, decide, record.

    uv run python benchmarks/orchestration.py --json

The fraud pipeline's scoring stage in process, batches of 1,000 ingested events, one model of this
process that answers at once; `beside` is the CPU of everything but the model's own call, per event:
windows and shares, the choice of a plan, the walk of the plan, rules, and the encoded decisions. By
step, medians over rounds. Scores are spread evenly, so that hardly an event passes and most have
further reasons told: far more than in life, and "decide" is the dearer for it. The cyclic collector
is set as in a worker. Decoding and Kafka are the lanes' (`engine.py`), and not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from batuta.agents.conductor import Conductor
from batuta.agents.context import Context
from batuta.agents.state.parking import ParkingLot
from batuta.schemas import codec
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.streams.at_once import AtOnce
from batuta.streams.lifecycle import calm_the_collector
from batuta.streams.pipelines.finding import find_pipeline

if TYPE_CHECKING:
    from batuta.agents.judging import Deciding
    from batuta.agents.models.port import Matrix, Scores
    from batuta.schemas.decision import Decision

ROWS = 1_000


class Quick:
    """Answers at once, and knows what it took itself."""

    name, version = "quick", "quick@000000000000"

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self.inputs = inputs
        self.used_s = 0.0

    async def answer(self, inputs: Matrix) -> Scores:
        began_s = time.process_time()
        scores = np.mod(inputs.sum(axis=1, dtype=np.float64) * 0.618, 1.0)
        self.used_s += time.process_time() - began_s
        return scores


def events(number: int, names: tuple[str, ...]) -> list[Ingested]:
    chance = np.random.default_rng(number)
    amounts, cards = chance.uniform(1, 500, ROWS), chance.integers(0, 5_000, ROWS)
    terminals, features = chance.integers(0, 10_000, ROWS), chance.uniform(0, 9, (ROWS, len(names)))
    made: list[Ingested] = []
    for row in range(ROWS):
        event_id, card = f"tx-{number}-{row}", f"c{cards[row]}"
        terminal = f"t{terminals[row]}"
        time_ms = 1_522_540_800_000 + 1_000 * number + row
        data = {
            "transaction_id": event_id,
            "event_time": "2018-04-01T00:00:00.000Z",
            "card_id": card,
            "terminal_id": terminal,
            "amount": round(float(amounts[row]), 2),
            "currency": "EUR",
            "channel": "pos",
        }
        carried = dict(zip(names, features[row].tolist(), strict=True))
        made.append(Ingested(event_id, card, terminal, time_ms, time_ms, "default", data, carried))
    return made


class Lane:
    """The scoring stage of one lane, without Kafka."""

    def __init__(self) -> None:
        shipped = find_pipeline("fraud").loaded
        self.carried = tuple(
            name for name in shipped.plan.inputs[shipped.plan.model] if name.startswith("card_")
        )
        self.model = Quick(shipped.plan.inputs[shipped.plan.model])
        models = {shipped.plan.model: self.model}
        deciding: Deciding = shipped.deciding
        self.conductor = Conductor(shipped.pipeline, models, shipped.reasons, deciding)
        self.conductor.driver = AtOnce(models)
        self.state = self.conductor.open_state()
        self.lot = ParkingLot(b"p", steps_max=10_000)
        self.used_s: defaultdict[str, float] = defaultdict(float)
        self._mark_s = 0.0

    def _used(self, step: str) -> None:
        now_s = time.process_time()
        self.used_s[step] += now_s - self._mark_s
        self._mark_s = now_s

    async def batch(self, batch: list[Ingested], now_ms: int) -> list[Decision]:
        context = Context(now_ms, 0, PartitionOf(1), self.state, parked=self.lot)
        self.state.begin()
        self.lot.begin()
        self._mark_s = time.process_time()
        question = self.conductor.understand(batch, context)
        self._used("understand and select")
        answer = await self.conductor.ask(question)
        self._used("delegate")
        decisions = self.conductor.conclude(question, answer, context).decisions
        self._used("decide")
        codec.encode_decisions(decisions, "fraud.decisions")  # together, as the stage does
        self._used("record")
        self.state.changes(now_ms)
        self.state.commit()
        self.lot.changes(now_ms)
        self.lot.commit()
        assert len(decisions) == len(batch)
        return decisions


async def measured(lane: Lane, batches: list[list[Ingested]], number: int) -> dict[str, float]:
    lane.used_s.clear()
    before_s = lane.model.used_s
    for place, batch in enumerate(batches):
        await lane.batch(batch, 1_700_000_000_000 + 1_000 * (number + place))
    count = sum(map(len, batches)) / 1e6
    model_s = lane.model.used_s - before_s
    lane.used_s["delegate"] -= model_s
    steps = {step: used_s / count for step, used_s in lane.used_s.items()}
    return {**steps, "beside the model": sum(steps.values()), "the model": model_s / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=20, help="of 1,000 events, in each round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lane = Lane()
    calm_the_collector()
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds + 1):
        first = number * options.batches
        batches = [events(first + n, lane.carried) for n in range(options.batches)]
        rounds.append(asyncio.run(measured(lane, batches, first)))
    found = {
        step: round(statistics.median(one[step] for one in rounds[1:]), 2) for step in rounds[0]
    }
    lowest = round(min(one["beside the model"] for one in rounds[1:]), 2)
    if options.json:
        print(json.dumps({"cpu_us_per_event": found, "lowest_beside_the_model": lowest}))
        return
    for step, used_us in found.items():
        print(f"{step:24} {used_us:7.2f} CPU-us per event")


if __name__ == "__main__":
    main()
