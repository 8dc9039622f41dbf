"""An event asks for an action once, whatever is decided anew."""

from __future__ import annotations

import pytest

from batuta.agents.policy.actions import action_of, actions_of
from batuta.schemas.decision import Decision
from batuta.schemas.pipeline_rules import Rule

DECISION = Decision(
    event_id="p1",
    pipeline="parcels",
    pipeline_version=3,
    tenant="default",
    entity="s1",
    event_time_ms=1_000,
    decided_at_ms=2_000,
    outcome="block",
    score=0.95,
    reasons=("score_very_high", "heavy"),
    model="scales@0123456789ab",
    features={},
    input_sha256="00" * 32,
)
HOLD = Rule(when="score > 0.9", outcome="block", reason="r", action="hold", action_version=2)
NOTHING = Rule(outcome="approve", reason="r")


def test_an_action_follows_where_the_rule_names_one() -> None:
    (action,) = actions_of([(DECISION, HOLD), (DECISION, NOTHING), (DECISION, None)])
    assert (action.action, action.action_version, action.event_id) == ("hold", 2, "p1")
    assert action.reasons == DECISION.reasons
    assert (action.entity, action.decided_at_ms, action.pipeline_version) == ("s1", 2_000, 3)


def test_an_id_is_what_it_always_was() -> None:
    assert action_of(DECISION, "hold", 2).action_id == "9acb62d5fad0edce5e30e6a8c8fb06ea"


@pytest.mark.parametrize(
    "again",
    [
        {"decided_at_ms": 9_000},
        {"score": 0.99, "reasons": ("other",)},
        {"model": "scales@ffffffffffff"},
        {"pipeline_version": 4},
    ],
)
def test_a_retry_a_replay_and_another_version_ask_for_the_same(again: dict[str, object]) -> None:
    before = action_of(DECISION, "hold", 2).action_id
    assert action_of(DECISION._replace(**again), "hold", 2).action_id == before  # pyright: ignore[reportArgumentType]


def test_another_event_tenant_pipeline_action_or_version_asks_for_something_else() -> None:
    others = [
        action_of(DECISION, "hold", 2),
        action_of(DECISION, "hold", 1),
        action_of(DECISION, "call", 2),
        action_of(DECISION._replace(event_id="p2"), "hold", 2),
        action_of(DECISION._replace(tenant="acme"), "hold", 2),
        action_of(DECISION._replace(pipeline="letters"), "hold", 2),
        action_of(DECISION._replace(tenant="defaultparcels", pipeline=""), "hold", 2),
    ]
    assert len({action.action_id for action in others}) == 7
