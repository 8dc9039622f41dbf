"""An event asks for an action once, whatever is decided anew."""

from __future__ import annotations

import pytest

from batuta.agents.policy.actions import actions_of
from batuta.schemas.decision import Decision

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
    action="hold",
    action_version=2,
)


def id_of(**changed: object) -> str:
    """Return the id of what a decision asks for, some of its fields changed."""
    decision = Decision._make({**DECISION._asdict(), **changed}.values())
    return actions_of([decision])[0].action_id


def test_an_action_follows_where_the_rule_names_one() -> None:
    (action,) = actions_of([DECISION, DECISION._replace(action="", action_version=0)])
    assert (action.action, action.action_version, action.event_id) == ("hold", 2, "p1")
    assert action.reasons == DECISION.reasons
    assert (action.entity, action.decided_at_ms, action.pipeline_version) == ("s1", 2_000, 3)


def test_an_id_is_what_it_always_was() -> None:
    assert id_of() == "9acb62d5fad0edce5e30e6a8c8fb06ea"


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
    assert id_of(**again) == id_of()


def test_another_event_tenant_pipeline_action_or_version_asks_for_something_else() -> None:
    others = [
        id_of(),
        id_of(action_version=1),
        id_of(action="call"),
        id_of(event_id="p2"),
        id_of(tenant="acme"),
        id_of(pipeline="letters"),
        id_of(tenant="defaultparcels", pipeline=""),
    ]
    assert len(set(others)) == 7
