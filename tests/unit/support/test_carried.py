"""What an action carries is as clean as the answer that decides, or nothing is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided as decided_alone
from batuta.agents.context import Context
from batuta.agents.models.answers import Answers
from batuta.agents.policy.actions import actions_of
from batuta.agents.reasons import NoReasons
from batuta.schemas import codec
from batuta.schemas.errors import UsageError
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batuta.schemas.decision import Decision

FILE = """\
pipeline: desk
version: 1
source:
  schema: "batuta.schemas.support:SupportMessage"
  id: message_id
  key: customer_id
  time: sent_at
models:
  draft: {adapter: python, use: "batuta.agents.support.cleaner:Cleaner", reads: [event.text]}
  judge: {adapter: python, use: "batuta.agents.support.cleaner:Cleaner", reads: [recent_count_1d]}
understand: [{recent: {by: customer_id, count: [1d]}}]
plans: {only: {sequence: [DRAFT, judge]}}
decide: [{otherwise: approve, action: send}]
actions: {send: {version: 3, carries: draft}}
escalate: {queue: desk}
"""
CHECKED = "{ask: draft, check: [{rule: 'score > 0.5', verifies: true}]}"
#: The draft fails its check, and the plan goes on all the same.
LED_AROUND = f"{{fallback: [{CHECKED}, judge]}}"


class Saying:
    version = "said@0"

    def __init__(self, name: str, reads: tuple[str, ...], score: float, value: object) -> None:
        self.name, self.reads = name, reads
        self._score, self._value = score, value

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        return Answers(np.full(len(rows), self._score), values=[self._value for _ in rows])


async def decided(
    folder: Path, step: str, score: float = 0.9, value: object = "A reply."
) -> Decision:
    path = folder / "desk.yaml"
    path.write_text(FILE.replace("DRAFT", step))
    loaded = load_file(path).loaded
    inputs = loaded.plan.inputs
    models = {
        "draft": Saying("draft", inputs["draft"], score, value),
        "judge": Saying("judge", inputs["judge"], 0.5, None),
    }
    conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
    event = Ingested("m1", "k1", "k1", 1_000, 7, "default", {"text": "?"}, {"recent_count_1d": 1.0})
    state = conductor.open_state()
    state.begin()
    (found,) = await decided_alone(conductor, [event], Context(0, 0, PartitionOf(1), state))
    return found


async def test_a_verified_draft_goes_along_with_its_action(tmp_path: Path) -> None:
    decision = await decided(tmp_path, CHECKED, value={"text": "A reply.", "policy": "Cards"})
    (action,) = actions_of([decision])
    assert (action.action, action.action_version) == ("send", 3)
    assert action.content == {"text": "A reply.", "policy": "Cards"}
    written = codec.encode_action(action, "desk.actions")
    record = Record("desk.actions", 0, 0, 1, written.key, written.value, written.headers)
    assert codec.decode_action(record) == action


@pytest.mark.parametrize(
    ("step", "score", "value", "taint"),
    [
        ("draft", 0.9, "A reply.", "outside_text"),
        (LED_AROUND, 0.1, "A reply.", "failed_check"),
        (CHECKED, 0.9, None, "failed_check"),
    ],
    ids=["nobody vouches for it", "it failed its check", "there is none"],
)
async def test_a_draft_that_is_not_clean_is_for_a_person(
    tmp_path: Path, step: str, score: float, value: object, taint: str
) -> None:
    decision = await decided(tmp_path, step, score, value)
    assert actions_of([decision]) == []
    assert (decision.outcome, decision.reasons[0]) == ("review", "tainted")
    assert taint in decision.taint
    assert decision.action_content is None


def test_an_action_carries_what_a_model_says(tmp_path: Path) -> None:
    text = FILE.replace("DRAFT", "draft").replace("carries: draft", "carries: drafd")
    (tmp_path / "desk.yaml").write_text(text)
    with pytest.raises(UsageError, match='did you mean "draft"'):
        load_file(tmp_path / "desk.yaml")
