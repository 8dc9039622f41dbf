"""In an evaluation a step that asks a person goes on at once, and its record says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided
from batuta.agents.context import Context
from batuta.agents.delegation.plans import people_of
from batuta.agents.models.answers import Answers
from batuta.agents.reasons import NoReasons
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.streams.evaluation.without_people import without_people
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.agents.models.port import AnyModel


@dataclass
class Unsure:
    """A model that reads rows and is sure of none."""

    name: str
    reads: tuple[str, ...]
    version: str = "unsure@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Answer 0.6, with hardly any confidence."""
        known = [{"text": "down"} for _ in rows]
        return Answers(np.full(len(rows), 0.6), np.full(len(rows), 0.1), known)


async def test_nobody_is_waited_for() -> None:
    support = PIPELINES["support"]
    models: dict[str, AnyModel] = {
        name: Unsure(name, support.plan.inputs[name]) for name in support.plan.asked
    }
    loaded, asked = without_people(support, models)
    conductor = Conductor(loaded.pipeline, asked, NoReasons(), loaded.deciding)
    known = {"recent_count_1h": 1.0, "recent_count_1d": 1.0}
    data = {"text": "It is down sometimes."}
    event = Ingested("m1", "k1", "k1", 1_000, 7, "default", data, known)
    state = conductor.open_state()
    state.begin()
    (decision,) = await decided(conductor, [event], Context(0, 0, PartitionOf(1), state))
    told = {answer.name: answer for answer in decision.answers}
    assert (told["clerk"].model, told["clerk"].failure) == ("clerk@support-desk", "timeout")
    assert (decision.outcome, decision.fallback) == ("review", True)
    assert not loaded.plan.delegating.people
    assert not any(list(people_of(node)) for node in loaded.plan.delegating.plans.values())
    assert list(people_of(support.plan.delegating.plans["only"])) == ["clerk"], "as it was"
