"""What checkpoints cost, and what they keep from an action: one wrong model among four steps.

    uv run benchmarks/checkpoints.py [--events 10000] [--json]

Four models in a sequence, each reading the answer before it; the second is wrong about three events
in ten, and sure of it. An action follows a high score. A judge is a model that knows the event, not
what the step was given, and is wrong itself about one event in fifty. Counted are the actions on
events that deserve none: without checkpoints (`none`), with one behind the whole plan (`plan`), and
with one behind each step (`steps`). The price is what the judges cost, and the CPU of the batch
beside that of the same plan without them. Last the CPU of single checks per event, in batches of
1,000.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided
from batuta.agents.context import Context
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import Ask, Checked, Node
from batuta.agents.delegation.plans import Sequence as InTurn
from batuta.agents.delegation.terms import Terms
from batuta.agents.judging import Deciding
from batuta.agents.models.answers import Answers
from batuta.agents.policy.actions import actions_of
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.reasons import NoReasons
from batuta.agents.selection.choosing import Only
from batuta.agents.understanding.isolation import DIRECT
from batuta.agents.verification.checkpoint import BoundCheck, Checkpoint, Validator
from batuta.agents.verification.port import CheckBatch
from batuta.agents.verification.ranges import RangeCheck
from batuta.agents.verification.shapes import SchemaCheck
from batuta.schemas.decision import Decision
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation, Pipeline, Source
from batuta.schemas.pipeline_rules import Rule

if TYPE_CHECKING:
    from batuta.agents.models.port import AnyModel

__all__ = ["cascade", "checks_cost"]

_STEPS = ("read", "rate", "weigh", "settle")
_WRONG = "rate"
_WRONG_SHARE = 0.3
_JUDGE_WRONG_SHARE = 0.02
_JUDGE_PRICE_NANO = 10_000
_STEP_PRICE_NANO = 50_000
_BATCH = 1_000
_POSITIVE_SHARE = 0.1
_YES = 0.95
_LETTERS = Pipeline(
    name="letters",
    version=1,
    source=Source(id_field="letter", key_field="sender", time_field="at"),
    scoring_key_field="sender",
    decide=(
        Rule(when="score > 0.9", outcome="block", reason="high", action="hold"),
        Rule(outcome="approve", reason="low"),
    ),
    escalation=Escalation(queue="people"),
)


@dataclass
class _Step:
    """Says what the step before said, the first what is true; a wrong one turns some around."""

    name: str
    reads: tuple[str, ...]
    version: str = "step@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        said = np.array([float(str(row[self.reads[0]])) for row in rows])
        if self.name == _WRONG:
            turned = np.array([row["event.luck"] for row in rows], np.float64) < _WRONG_SHARE
            said = np.where(turned, 1.0 - said, said)
        return Answers(said)


@dataclass
class _Judge:
    """Accepts what lies near to what it would have said itself, without the others' answers."""

    name: str
    of: str
    reads: tuple[str, ...]
    version: str = "judge@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        own = np.array([row["event.truth"] for row in rows], np.float64)
        luck = np.array([row[f"event.other_{self.of}"] for row in rows], np.float64)
        own = np.where(luck < _JUDGE_WRONG_SHARE, 1.0 - own, own)
        told = np.array([row[f"{self.of}.score"] for row in rows], np.float64)
        return Answers((np.abs(own - told) < 0.5).astype(np.float64))


def cascade(events_count: int, seed: int = 1) -> dict[str, float]:
    """Run the four steps without and with checkpoints; return counts, costs and CPU of both."""
    events = _events(events_count, seed)
    figures: dict[str, float] = {"events": float(events_count)}
    _decided(events[:_BATCH], "steps")  # warm
    for where in ("none", "plan", "steps"):
        began = time.process_time()
        decisions = _decided(events, where)
        spent_s = time.process_time() - began
        acted = {action.event_id for action in actions_of(decisions)}
        deserved = [one.data["truth"] == _YES for one in events if one.event_id in acted]
        costs_nano = sum(answer.cost_nano for one in decisions for answer in one.answers)
        figures |= {
            f"wrong_actions_{where}": float(len(deserved) - sum(deserved)),
            f"right_actions_{where}": float(sum(deserved)),
            f"reviews_{where}": float(sum(one.outcome == "review" for one in decisions)),
            f"cost_nano_per_event_{where}": costs_nano / events_count,
            f"cpu_us_per_event_{where}": 1e6 * spent_s / events_count,
        }
    for where in ("plan", "steps"):
        for what in ("wrong_actions", "cost_nano_per_event", "cpu_us_per_event"):
            figures[f"{what}_{where}_to_none"] = (
                figures[f"{what}_{where}"] / figures[f"{what}_none"]
            )
    return figures


def checks_cost(rounds: int = 200) -> dict[str, float]:
    """Return CPU-us per event of the checks that stand behind every answer."""
    values = [{"text": "It is on its way.", "amount": 3.5}] * _BATCH
    events = _events(_BATCH, 1)
    scores = np.full(_BATCH, 0.5)
    batch = CheckBatch(
        events,
        scores,
        np.full(_BATCH, 0.9),
        np.zeros((_BATCH, 1)),
        {},
        {"draft": values},
        EventRows(events, {}),
    )

    class Reply(BaseModel):
        text: str
        amount: float

    found: dict[str, float] = {}
    for name, check in (("range", RangeCheck()), ("schema", SchemaCheck(Reply, "draft"))):
        checkpoint = Checkpoint("models", (BoundCheck(name, check),))
        checkpoint.run(batch, DIRECT)
        began = time.process_time()
        for _ in range(rounds):
            checkpoint.run(batch, DIRECT)
        found[f"{name}_cpu_us_per_event"] = 1e6 * (time.process_time() - began) / (rounds * _BATCH)
    return found


def _events(count: int, seed: int) -> list[Ingested]:
    random = np.random.default_rng(seed)
    columns = {
        "truth": np.where(random.random(count) < _POSITIVE_SHARE, _YES, 1.0 - _YES).tolist(),
        "luck": random.random(count).tolist(),
        **{f"other_{name}": random.random(count).tolist() for name in _STEPS},
    }
    return [
        Ingested(f"l{n}", "s1", f"s{n}", 1_000 + n, 7, "default", data, {})
        for n, values in enumerate(zip(*columns.values(), strict=True))
        for data in [dict(zip(columns, values, strict=True))]
    ]


def _decided(events: Sequence[Ingested], where: str) -> list[Decision]:
    models: dict[str, AnyModel] = {}
    nodes: list[Node] = []
    before = "event.truth"
    for name in _STEPS:
        models[name] = _Step(name, (before, "event.luck"))
        judged = ("event.truth", f"event.other_{name}", f"{name}.score")
        models[f"judge_of_{name}"] = _Judge(f"judge_of_{name}", name, judged)
        nodes.append(_judged(Ask(name), name) if where == "steps" else Ask(name))
        before = f"{name}.score"
    plan: Node = InTurn(tuple(nodes))
    if where == "plan":
        plan = _judged(plan, _STEPS[-1])
    terms = {
        name: Terms(_JUDGE_PRICE_NANO if name.startswith("judge") else _STEP_PRICE_NANO, "EUR")
        for name in models
    }
    delegating = Delegating({"only": plan}, Only("only"), terms)
    conductor = Conductor(_LETTERS, models, NoReasons(), Deciding(delegating=delegating))
    state = conductor.open_state()
    found: list[Decision] = []

    async def run() -> None:
        for begin in range(0, len(events), _BATCH):
            state.begin()
            context = Context(2_000, 0, PartitionOf(1), state)
            found.extend(await decided(conductor, events[begin : begin + _BATCH], context))
            state.changes(2_000)
            state.commit()

    asyncio.run(run())
    return found


def _judged(node: Node, step: str) -> Node:
    judges = (Validator(f"judge_of_{step}"),)
    return Checked(node, Checkpoint(step, (BoundCheck("range", RangeCheck()),), judges))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = {**cascade(given.events), **checks_cost()}
    show: Callable[[str], None] = print
    if given.json:
        show(json.dumps(figures))
        return
    for name, value in figures.items():
        show(f"{name:36} {value:12,.3f}")


if __name__ == "__main__":
    main()
