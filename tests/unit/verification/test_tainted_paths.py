"""Every path of every shipped pipeline: what is tainted does not act."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from batuta.agents.asking_people_testing import decided_with_people
from batuta.agents.conductor import Conductor
from batuta.agents.context import Context
from batuta.agents.delegation.plans import Checked, models_of
from batuta.agents.ingestion import Ingestion
from batuta.agents.models.answers import Answers
from batuta.agents.policy.actions import actions_of
from batuta.agents.reasons import NoReasons
from batuta.agents.selection.choosing import Only
from batuta.agents.verification.taint import Taint, names_of
from batuta.schemas.event_codec import EventCodec
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.schemas.decision import Decision
    from batuta.schemas.errors import FailureKind
    from batuta.schemas.ingested import Ingested
    from batuta.schemas.review import StepCase

Told = float | None


@dataclass
class Telling:
    """A model that answers each row as its path through the plan wants it, or not at all."""

    name: str
    told: Sequence[Told]
    reads: tuple[str, ...]
    version: str = "told@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        told = [self.told[cast("int", row["event.path"])] for row in rows]
        scores = np.array([np.nan if one is None else one for one in told])
        failures: dict[int, FailureKind] = {
            place: "unavailable" for place, one in enumerate(told) if one is None
        }
        values = [SAID.get(self.name, "") for _ in rows]
        return Answers(scores, scores, values, failures=failures)


def outcomes(conductor: Conductor, events: Sequence[Ingested]) -> list[list[Decision]]:
    """Return what a conductor decides; where a person is asked, whatever they may say."""
    found: list[list[Decision]] = []
    for said in ANSWERS:
        asked: list[StepCase] = []

        def answer(case: StepCase, told: Told = said, cases: list[StepCase] = asked) -> Told:
            cases.append(case)
            return told

        found.append(asyncio.run(decided_with_people(conductor, events, answer, 2_000)))
        if not asked:
            break
    return found


NOW_MS = 1_795_000_000_000
ANSWERS: tuple[Told, ...] = (0.01, 0.97, None)
STEP = "We block the lost card at once."
#: What models say beside a score: a draft that passes its checks. Nobody reads their scores.
SAID: Mapping[str, object] = {
    "intents": {"label": "lost_card"},
    "cleaner": {"text": "I lost my card."},
    "policies": [{"title": "Cards", "steps": [STEP], "text": STEP, "share": 1.0}],
    "drafter": {"text": STEP, "policy": "Cards"},
}


@pytest.mark.parametrize("name", sorted(PIPELINES))
@pytest.mark.parametrize("taint", [0, *Taint], ids=lambda one: "+".join(names_of(one)) or "clean")
def test_no_path_of_a_shipped_pipeline_acts_on_a_tainted_answer(name: str, taint: int) -> None:
    """Every plan, every combination of answers and failures of its models, each label in turn."""
    loaded = PIPELINES[name]
    delegating = loaded.deciding.delegating
    assert delegating is not None
    acted = 0
    for plan, node in delegating.plans.items():
        names = dict.fromkeys(models_of(node))
        asked = tuple(name for name in names if name not in delegating.people)
        terms = {one: replace(delegating.terms[one], taint=taint) for one in delegating.terms}
        alone = replace(delegating, plans={plan: node}, chooser=Only(plan), terms=terms)
        paths = [*product(*(ANSWERS[1:] if one in SAID else ANSWERS for one in asked))]
        models = {
            model: Telling(model, told, (*loaded.plan.inputs[model], "event.path"))
            for model, told in zip(asked, zip(*paths, strict=True), strict=True)
        }
        deciding = replace(loaded.deciding, delegating=alone)
        conductor = Conductor(loaded.pipeline, models, NoReasons(), deciding)
        events = [on_path(example(name), path) for path in range(len(paths))]
        for decisions in outcomes(conductor, events):
            assert len(decisions) == len(paths)
            for told, decision in zip(paths, decisions, strict=True):
                actions = actions_of([decision])
                acted += len(actions)
                vouched = isinstance(node, Checked) and not decision.taint
                assert not actions or not taint or vouched, (plan, told, decision)
    assert acted or taint, "nothing ever acts: the test would see nothing"


def on_path(event: Ingested, path: int) -> Ingested:
    """Return an event under an id of its own, with the number of the path that it takes."""
    return event._replace(event_id=f"e{path}", data={**event.data, "path": path})


@cache
def example(name: str) -> Ingested:
    """Return an event of a shipped pipeline, as ingestion hands it on."""
    loaded = PIPELINES[name]
    sample = next(iter(loaded.samples(7, NOW_MS)))
    record = Record(f"{name}.events", 0, 0, NOW_MS, sample.key.encode(), sample.data)
    opened = EventCodec(loaded.pipeline.source, loaded.data).decode([record], NOW_MS)
    ingestion = Ingestion(loaded.pipeline)
    state = ingestion.open_state()
    state.begin()
    context = Context(NOW_MS, 0, PartitionOf(1), state)
    return ingestion.ingest(opened.events, context).accepted[0]
