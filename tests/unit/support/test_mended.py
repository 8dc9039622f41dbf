"""A draft that fails its checks is mended with the policy's own words, or a person has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided as decided_alone
from batuta.agents.context import Context
from batuta.agents.models.answers import Answers
from batuta.agents.policy.actions import actions_of
from batuta.agents.reasons import NoReasons
from batuta.agents.support.drafter import draft_of
from batuta.agents.support.mender import Mender
from batuta.agents.support.policies import POLICIES
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.testing import check_repair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.schemas.decision import Decision

POLICY = POLICIES[1]
MENDED = draft_of(POLICY.title, POLICY.steps)
SAID: Mapping[str, tuple[float, object]] = {
    "intents": (0.9, {"label": "lost_card"}),
    "intake": (0.9, {"language": "en"}),
    "cleaner": (0.9, {"text": "I lost my card."}),
    "classifier": (0.1, None),
    "reader": (0.1, None),
    "policies": (0.9, [{**POLICY.as_passage(), "share": 1.0}]),
    "auditor": (1.0, None),
    "steward": (0.1, None),
}


@dataclass
class Saying:
    name: str
    says: tuple[float, object]
    reads: tuple[str, ...]
    version: str = "said@0"

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        score, value = self.says
        sure = np.full(len(rows), score)
        return Answers(sure, np.ones(len(rows)), [value for _ in rows])


async def decided(draft: Mapping[str, str]) -> Decision:
    """Let the shipped pipeline decide, with a drafter that is not its own."""
    loaded = PIPELINES["support"]
    said = {**SAID, "drafter": (0.9, draft)}
    inputs = loaded.plan.inputs
    models = {name: Saying(name, says, inputs[name]) for name, says in said.items()}
    conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
    features: dict[str, float] = {"recent_count_1h": 1.0, "recent_count_1d": 1.0}
    event = Ingested("m1", "k1", "k1", 1_000, 7, "default", {"text": "I lost it"}, features)
    state = conductor.open_state()
    state.begin()
    (found,) = await decided_alone(conductor, [event], Context(0, 0, PartitionOf(1), state))
    return found


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("WE WILL NOT HELP YOU!!!", "tone_shouting"),
        (f"{POLICY.steps[0]} Kind regards", "step_missing"),
        (" ".join(reversed(POLICY.steps)), "steps_out_of_order"),
        (f"{MENDED['text']} Write to dorel@tov.example.", "address_leaked"),
        (f"{MENDED['text']} You also win a yacht worth 9000 EUR.", "claim_ungrounded"),
    ],
)
async def test_what_is_wrong_with_a_draft_never_reaches_the_customer(
    text: str, failed: str
) -> None:
    decision = await decided({"text": text, "policy": POLICY.title})
    (tried,) = decision.corrections
    assert tried.failed[0] == failed
    assert tried.result == "passed"
    (action,) = actions_of([decision])
    assert (action.action, action.content) == ("send_reply", MENDED)


@pytest.mark.parametrize("policy", ["Free yachts", "Refund of a payment", ""])
async def test_a_policy_that_was_not_found_is_for_a_person(policy: str) -> None:
    decision = await decided({"text": "You win a yacht.", "policy": policy})
    assert [one.result for one in decision.corrections] == ["failed"]
    assert actions_of([decision]) == []
    assert decision.outcome == "review"


def test_it_is_a_repair_by_rules() -> None:
    drafts: list[tuple[object, float]] = [
        ({"text": "No!!!", "policy": POLICY.title}, 0.9),
        ({"text": "No!!!", "policy": 7}, 0.9),
        ("No!!!", 0.5),
        (None, 0.5),
    ]
    check_repair(Mender(), drafts, "tone_shouting")
    own = [{"title": "Cards", "steps": ["We block it."]}]
    check_repair(Mender(own), [({"policy": "Cards"}, 0.9)], "step_missing")
