"""Names on the wire are contracts: pinned here as literals, whatever functions are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from batuta.schemas.topics import Topics
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.settings import load_settings
from batuta.streams.stages import ROUTE

if TYPE_CHECKING:
    from batuta.agents.models.port import Matrix, Scores

TOPICS = {
    "fraud.events",
    "fraud.rekeyed",
    "fraud.late",
    "fraud.ingested",
    "fraud.index",
    "fraud.feedback",
    "fraud.labels",
    "fraud.outcomes",
    "fraud.unmatched",
    "fraud.decisions",
    "fraud.actions",
    "fraud.escalations",
    "fraud.verdicts",
    "fraud.reviewed",
    "fraud.answers",
    "fraud.notifications",
    "fraud.deadletters",
    "fraud.redriven",
    "fraud-ingestion.redrive",
    "fraud-rekeying.redrive",
    "fraud-learning.redrive",
    "fraud-scoring.redrive",
    "fraud-escalation.redrive",
    "fraud-notification.redrive",
    "fraud-ingestion.state",
    "fraud-rekeying.state",
    "fraud-learning.state",
    "fraud-scoring.state",
    "fraud-escalation.state",
}
#: Stage, group, inputs, changelog. The transactional id is the group and the partition.
STAGES = [
    (
        "ingestion",
        "fraud-ingestion",
        ("fraud.events", "fraud.rekeyed", "fraud-ingestion.redrive"),
        "fraud-ingestion.state",
    ),
    (
        "rekeying",
        "fraud-rekeying",
        ("fraud.feedback", "fraud-rekeying.redrive"),
        "fraud-rekeying.state",
    ),
    (
        "learning",
        "fraud-learning",
        ("fraud.labels", "fraud.index", "fraud-learning.redrive"),
        "fraud-learning.state",
    ),
    (
        "scoring",
        "fraud-scoring",
        ("fraud.outcomes", "fraud.ingested", "fraud-scoring.redrive"),
        "fraud-scoring.state",
    ),
    (
        "escalation",
        "fraud-escalation",
        ("fraud.decisions", "fraud.escalations", "fraud.verdicts", "fraud-escalation.redrive"),
        "fraud-escalation.state",
    ),
    (
        "notification",
        "fraud-notification",
        ("fraud.notifications", "fraud-notification.redrive"),
        None,
    ),
]


class Silent:
    """A model that wants to see nothing."""

    name = "silent"
    version = "silent@000000000000"
    inputs: tuple[str, ...] = ()

    async def answer(self, inputs: Matrix) -> Scores:
        return np.zeros(len(inputs))


@pytest.fixture
async def app() -> LaneApp:
    """All stages of the fraud pipeline, put together and not started."""
    topics = dict.fromkeys(TOPICS, 4)
    settings = load_settings(bootstrap="127.0.0.1:9092")
    app = LaneApp(settings, topics, CollectorRegistry())
    house = House(PIPELINES["fraud"], Silent(), ())
    for stage in ROUTE:
        stage(app, house)
    return app


def test_topics() -> None:
    declared = Topics("fraud").declared(4)
    assert {spec.name for spec in declared} == TOPICS


def test_deadletters_are_shared(app: LaneApp) -> None:
    assert {source.stage.deadletters for source in app.sources} == {"fraud.deadletters"}


def test_stages(app: LaneApp) -> None:
    stages = [source.stage for source in app.sources]
    assert [(s.name, s.group, s.inputs, s.changelog) for s in stages] == STAGES


def test_agents_carry_their_groups_names(app: LaneApp) -> None:
    assert set(app.agents) == {group for _, group, _, _ in STAGES}
