"""Review becomes a case, block becomes an alarm: once, whatever is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.context import Context
from batuta.agents.escalation import Escalation
from batuta.agents.notification import Notifier
from batuta.schemas.decision import Decision, Outcome
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation as Reviewers
from batuta.schemas.pipeline import Pipeline, Source, WindowFeature
from batuta.schemas.pipeline_rules import by_score, urgent

if TYPE_CHECKING:
    from batuta.schemas.notification import Notification
    from batuta.schemas.review import ReviewCase

PARCELS = Pipeline(
    name="parcels",
    version=3,
    source=Source(key_field="sender", time_field="at"),
    scoring_key_field="depot",
    ingestion_windows=(WindowFeature(name="sender", by="sender"),),
    scoring_windows=(WindowFeature(name="depot", by="depot"),),
    decide=by_score(0.4, 0.8),
    notify=urgent(0.6),
    escalation=Reviewers(queue="dispatch", due_ms=60_000),
)


def decision(outcome: Outcome, score: float = 0.5, event_id: str = "p1") -> Decision:
    return Decision(
        event_id=event_id,
        pipeline="parcels",
        pipeline_version=3,
        tenant="default",
        entity="somebody-private",
        event_time_ms=1_000,
        decided_at_ms=2_000,
        outcome=outcome,
        score=score,
        reasons=("score_high", "heavy"),
        model="scales@0123456789ab",
        features={"weight": 98_765.5},
        input_sha256="00" * 32,
    )


def world(now_ms: int = 9_000) -> Context[None]:
    return Context(now_ms, 0, PartitionOf(1), None)


def cases(*decisions: Decision, now_ms: int = 9_000) -> list[ReviewCase]:
    return Escalation(PARCELS).escalate(decisions, world(now_ms))


def told(*subjects: Decision | ReviewCase, now_ms: int = 9_000) -> list[Notification]:
    return Notifier(PARCELS).notify(subjects, world(now_ms))


def test_every_review_and_nothing_else_becomes_a_case() -> None:
    review = decision("review")
    opened = cases(decision("approve", event_id="p0"), review, decision("block", event_id="p2"))
    assert [case.decision for case in opened] == [review]
    assert opened[0].queue == "dispatch"
    assert (opened[0].opened_at_ms, opened[0].due_at_ms) == (2_000, 62_000)


def test_a_retry_at_another_time_opens_the_same_case() -> None:
    assert cases(decision("review"), now_ms=9_000) == cases(decision("review"), now_ms=99_000)


def test_another_event_tenant_or_pipeline_has_another_case() -> None:
    one = decision("review")
    others = [one._replace(event_id="p2"), one._replace(tenant="t"), one._replace(pipeline="x")]
    # Where one part ends and the next begins counts too.
    others += [one._replace(tenant="defaultparcels", pipeline="")]
    assert len({case.case_id for case in cases(one, *others)}) == 5


def test_a_block_is_critical_and_an_approval_is_nobodys_business() -> None:
    alarms = told(decision("approve", event_id="p0"), decision("block", 0.93))
    assert [(n.severity, n.event_id) for n in alarms] == [("critical", "p1")]
    assert "0.93" in alarms[0].summary
    assert alarms[0].labels == {"outcome": "block", "reason": "heavy"}


@pytest.mark.parametrize(("score", "severities"), [(0.59, []), (0.61, ["warning"])])
def test_only_a_review_near_the_block_threshold_is_told_of_at_once(
    score: float, severities: list[str]
) -> None:
    assert [n.severity for n in told(*cases(decision("review", score)))] == severities


@pytest.mark.parametrize("reason", ["model_failed", "model_answer_invalid"])
def test_a_review_without_a_usable_score_is_told_of(reason: str) -> None:
    blind = decision("review", 1.0)._replace(reasons=(reason,))
    assert [(n.severity, n.labels["reason"]) for n in told(*cases(blind))] == [("warning", reason)]


def test_a_retry_at_another_time_tells_the_same_and_two_things_differ() -> None:
    block, review = decision("block"), decision("review", 0.7)
    first = told(block, *cases(review))
    assert first == told(block, *cases(review), now_ms=99_000)
    assert len({n.notification_id for n in first}) == 2


def test_a_notification_names_neither_the_entity_nor_its_data() -> None:
    for notification in told(decision("block"), *cases(decision("review", 0.7))):
        assert "somebody-private" not in repr(notification)
        assert "98765" not in repr(notification)
