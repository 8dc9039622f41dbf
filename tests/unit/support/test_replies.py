"""A reply says what the policy says; steps, other people's data and invention are found in it."""

from __future__ import annotations

import ast
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.delegation.plans import Ask, Sequence
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.support.drafter import Drafter
from batuta.agents.support.evaluation import (
    DRAFTER,
    POLICIES_FOUND,
    judged,
    measure_drafts,
    reply_checkpoint,
)
from batuta.agents.support.planting import FAULTS, plant
from batuta.agents.support.policies import POLICIES, policies_of
from batuta.agents.support.prescribed import PrescribedSteps
from batuta.agents.support.ranking import TextIndex
from batuta.agents.support.retriever import Retriever
from batuta.agents.verification.checkpoint import Checkpoint
from batuta.agents.verification.port import CheckBatch
from batuta.agents.verification.privacy import PrivacyCheck
from batuta.schemas.ingested import Ingested
from batuta.streams.pipelines.finding import find_pipeline
from batuta.streams.testing import check_batch_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batuta.agents.verification.port import BatchCheck

STEPS = ["Confirm your identity.", "We block the lost card.", "A new card is sent to you."]
POLICY: dict[str, object] = {"title": "Cards", "steps": STEPS, "text": "Write to a@desk.example."}
NOTE: dict[str, object] = {
    "title": "note",
    "text": "Dorel Tovlim, dorel@tov.example, 4111 1111 1111 1111",
    "names": ["Dorel Tovlim"],
}
MESSAGE = "I am Sumo Narpel, write to sumo@nar.example or call 0221 555 0199."


@pytest.fixture(scope="module")
def reply() -> Checkpoint:
    """The checks that the pipeline's file puts behind its draft."""
    found = reply_checkpoint(find_pipeline("support").loaded.plan.delegating.plans.values())
    assert found is not None
    return found


def batches(*drafts: object, found: object = None) -> Callable[[Iterable[int]], CheckBatch]:
    known = [POLICY, NOTE] if found is None else found

    def batch_of(rows: Iterable[int]) -> CheckBatch:
        events = [Ingested(f"e{n}", "k", "k", 0, 0, "default", {"text": MESSAGE}, {}) for n in rows]
        values = {
            DRAFTER: [
                {"text": one, "policy": "Cards"} if isinstance(one, str) else one
                for one in (drafts[row] for row in rows)
            ],
            POLICIES_FOUND: [known for _ in rows],
        }
        sure, none = np.ones(len(events)), np.zeros((len(events), 1))
        return CheckBatch(events, sure, sure, none, {}, values, EventRows(events, {}))

    return batch_of


def reasons_of(check: BatchCheck, *drafts: object, found: object = None) -> list[str]:
    batch_of = batches(*drafts, found=found)
    check_batch_check(check, batch_of, len(drafts))
    codes = check.check(batch_of(range(len(drafts)))).codes.tolist()
    return [check.reasons[code - 1] if code else "" for code in codes]


def test_steps_are_told_whole_and_in_order() -> None:
    first, second, third = STEPS
    check = PrescribedSteps(DRAFTER, POLICIES_FOUND)
    assert reasons_of(
        check,
        " ".join(STEPS),
        "Hi!\n1. Please confirm your identity.\n2. We block the lost card.\n3. A new card is sent.",
        "Confirm your identity, then we block the lost card, and finally a new card is sent to you",
        f"{first} {third}",
        f"{second} {third} Thank you.",
        f"{second} {first} {third}",
        " ".join(reversed(STEPS)),
        "",
    ) == [*["", "", ""], *["step_missing"] * 2, *["steps_out_of_order"] * 2, "step_missing"]


@pytest.mark.parametrize("draft", [None, "text", {"text": " ".join(STEPS), "policy": "Fees"}, {}])
def test_a_draft_follows_a_policy_that_was_found(draft: object) -> None:
    check = PrescribedSteps(DRAFTER, POLICIES_FOUND)
    found = reasons_of(check, {"text": draft} if isinstance(draft, str) else draft)
    assert found == ["policy_unknown"]
    assert reasons_of(check, " ".join(STEPS), found="none") == ["policy_unknown"]


def test_nobody_reads_what_belongs_to_somebody_else() -> None:
    check = PrivacyCheck(DRAFTER, POLICIES_FOUND)
    assert reasons_of(
        check,
        "We write to sumo@nar.example and call (0221) 555-0199.",
        "Write to a@desk.example.",
        "We write to dorel@tov.example.",
        "It was paid with 4111-1111-1111-1111.",
        "The account is DE89 3704 0044 0532 0130 00 OK",
        "Call +49 221 555 0123.",
        "Like dorel TOVLIM you lost it.",
        "Within 10 days, at most 250.00 EUR, from 2024-05-17 to 31.12.2024.",
    ) == [
        *("", "", "address_leaked", "card_leaked"),
        *("account_leaked", "phone_leaked", "name_leaked", ""),
    ]


def test_the_best_passage_comes_first_whatever_the_order_of_words() -> None:
    index = TextIndex([one.whole for one in POLICIES])
    words = ["somebody", "stole", "the", "card", "from", "my", "wallet"]
    best = index.best(" ".join(words), 3)
    assert POLICIES[best[0][0]].title == "Lost or stolen card"
    random.Random(7).shuffle(words)
    assert index.best(" ".join(words), 3) == best
    assert index.best("zzz", 3) == []


def test_a_draft_is_extracted_from_the_policy_or_there_is_none(reply: Checkpoint) -> None:
    row = {"cleaner.value": {"text": "I lost my card"}, "intents.value": {"label": "lost_card"}}
    nothing = {"cleaner.value": None, "intents.value": None}
    found = Retriever().answer_rows([row, nothing])
    drafts = Drafter().answer_rows([{"policies.value": value} for value in found.values])
    assert [value["policy"] for value in drafts.values] == ["Lost or stolen card", ""]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert all(step in drafts.evidence[0] for step in POLICIES[1].steps)
    batch_of = batches(*drafts.values, found=found.values[0])
    for bound in reply.checks:
        assert bound.check.check(batch_of([0])).codes.tolist() == [0], bound.name


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"steps": ["a"]}], "no title of its own"),
        ([{"title": "a", "steps": ["b"]}, {"title": "a", "steps": ["c"]}], "title of its own: 'a'"),
        ([{"title": "a", "steps": []}], "add steps"),
    ],
)
def test_a_policy_without_title_or_steps_is_refused(
    entries: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        policies_of(entries)


def test_the_checks_of_the_file_find_faults_planted_in_drafts_of_our_own_policies(
    reply: Checkpoint,
) -> None:
    assert reply.names == ("privacy", "tone", "steps", "grounding")
    found = measure_drafts(POLICIES, reply)
    assert found.metrics["violations_found"] >= 0.95
    assert found.metrics["false_alarms"] <= 0.05


def test_what_a_file_does_not_check_is_not_found(reply: Checkpoint) -> None:
    gentle = replace(reply, checks=tuple(one for one in reply.checks if one.name != "tone"))
    facts = measure_drafts(POLICIES, gentle).facts
    assert (facts["wrong_tone_found_by_its_check"], facts["missing_step_found_by_its_check"]) == (
        0.0,
        measure_drafts(POLICIES, reply).facts["missing_step_found_by_its_check"],
    )
    assert reply_checkpoint([Sequence((Ask("drafter"), Ask("steward")))]) is None
    assert measure_drafts(POLICIES, Checkpoint("none", ())).metrics["violations_found"] == 0.0


def test_drafts_are_the_same_each_time_and_seen_ones_hold_no_unseen_template() -> None:
    for fault in ("", *FAULTS):
        drafts = plant(POLICIES, fault, 40, 3)
        assert drafts == plant(POLICIES, fault, 40, 3)
        assert any(one.unseen for one in drafts)
        assert not any(one.unseen for one in plant(POLICIES, fault, 40, 3, seen_only=True))


def test_a_draft_is_judged_beside_what_was_found(reply: Checkpoint) -> None:
    drafts = plant(POLICIES, "leaked_data", 5, 3)
    assert [one.draft for one in judged(drafts, POLICIES, reply)] == drafts


def test_who_plants_and_who_checks_know_nothing_of_each_other() -> None:
    rooms = Path(__file__).parents[3] / "agents"
    checks = [*(rooms / "verification").glob("*.py"), rooms / "support" / "prescribed.py"]
    for path in checks:
        assert not any("plant" in name for name in _imports(path)), path
    for name in ("planting", "planted_templates"):
        imports = _imports(rooms / "support" / f"{name}.py")
        assert not any("verification" in one or "prescribed" in one for one in imports)


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
