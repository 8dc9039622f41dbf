"""Every path of every shipped pipeline: what is tainted does not act."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

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
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.event_codec import EventCodec
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.schemas.decision import Decision
    from batuta.schemas.ingested import Ingested
    from batuta.schemas.review import StepCase

Told = float | None


@dataclass
class Telling:
    """A model that answers every row alike, or not at all; whatever stands in a row."""

    name: str
    told: Told
    reads: tuple[str, ...]
    version: str = "told@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        if self.told is None:
            raise ModelFailedError("unavailable", self.name)
        scores = np.full(len(rows), self.told)
        return Answers(scores, scores, ["" for _ in rows])


def outcomes(conductor: Conductor, event: Ingested) -> list[Decision]:
    """Return what a conductor decides; where a person is asked, whatever they may say."""
    found: list[Decision] = []
    for said in ANSWERS:
        asked: list[StepCase] = []

        def answer(case: StepCase, told: Told = said, cases: list[StepCase] = asked) -> Told:
            cases.append(case)
            return told

        found += asyncio.run(decided_with_people(conductor, [event], answer, 2_000))
        if not asked:
            break
    return found


NOW_MS = 1_795_000_000_000
ANSWERS: tuple[Told, ...] = (0.01, 0.97, None)


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
        for told in product(ANSWERS, repeat=len(asked)):
            models = {
                m: Telling(m, t, loaded.plan.inputs[m]) for m, t in zip(asked, told, strict=True)
            }
            deciding = replace(loaded.deciding, delegating=alone)
            conductor = Conductor(loaded.pipeline, models, NoReasons(), deciding)
            for decision in outcomes(conductor, example(name)):
                actions = actions_of([decision])
                acted += len(actions)
                vouched = isinstance(node, Checked) and not decision.taint
                assert not actions or not taint or vouched, (plan, told, decision)
    assert acted or taint, "nothing ever acts: the test would see nothing"


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
