"""Review becomes a case, block becomes an alarm: once, whatever is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.context import Context
from batuta.agents.escalation import Escalated, Escalation
from batuta.agents.notification import Notifier
from batuta.agents.open_cases import OpenCases
from batuta.agents.reviewing import EscalationState
from batuta.agents.state.timers import Timers
from batuta.schemas.decision import Decision, Outcome
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation as Reviewers
from batuta.schemas.pipeline import Pipeline, Source, WindowFeature
from batuta.schemas.pipeline_rules import by_score, urgent
from batuta.schemas.review import StepCase, Verdict

if TYPE_CHECKING:
    from batuta.schemas.notification import Notification
    from batuta.schemas.review import Case, ReviewCase, Says

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


class Desk:
    """A lane of escalation whose every batch is committed."""

    def __init__(self, now_ms: int = 9_000, partitions: int = 1) -> None:
        self.agent = Escalation(PARCELS)
        self.state = self.agent.open_state()
        self.timers = Timers(b"t", entries_max=100)
        self.now_ms = now_ms
        self.partition_of = PartitionOf(partitions)

    def batch(self, *items: Decision | Case | Verdict) -> Escalated:
        """Take a batch in, with the timers that are due."""
        context = Context(self.now_ms, 0, self.partition_of, self.state, timers=self.timers)
        for table in (self.state, self.timers):
            table.begin()
        firings = self.timers.due(self.now_ms, 0, 100)
        escalated = self.agent.escalate(items, firings, context)
        for table in (self.state, self.timers):
            table.changes(self.now_ms)
            table.commit()
        return escalated

    def restart(self) -> None:
        """Let another lane go on with what this one has written."""
        state, timers = self.agent.open_state(), Timers(b"t", entries_max=100)
        for key, value in self.state.dump():
            state.load(key, value)
        for key, value in self.timers.dump():
            timers.load(key, value)
        self.state, self.timers = state, timers


def question(case_id: str = "q1", event_id: str = "p1", due_ms: int = 60_000) -> StepCase:
    return StepCase(
        case_id=case_id,
        queue="dispatch",
        opened_at_ms=1_000,
        due_at_ms=due_ms,
        asked="analyst",
        step_id=event_id,
        partition=3,
        pipeline="parcels",
        pipeline_version=3,
        tenant="default",
        event_id=event_id,
        entity="somebody-private",
        event_time_ms=500,
        plan="deep",
        data={"parcel": event_id},
        features={"weight": 98_765.5},
    )


def verdict(says: Says = "block", case_id: str = "q1", score: float | None = None) -> Verdict:
    return Verdict(case_id, says, "ada", 5_000, score, "a known forger")


def results(escalated: Escalated) -> list[tuple[str, str]]:
    return [(one.case_id, one.result) for one in escalated.reviewed]


def world(now_ms: int = 9_000) -> Context[None]:
    return Context(now_ms, 0, PartitionOf(1), None)


def cases(*decisions: Decision, now_ms: int = 9_000) -> list[ReviewCase]:
    return Desk(now_ms).batch(*decisions).cases


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


@pytest.mark.parametrize(
    ("says", "score", "answer", "failure"),
    [
        ("block", None, 1.0, None),
        ("approve", None, 0.0, None),
        ("approve", 0.3, 0.3, None),
        ("unsure", None, None, "refused"),
    ],
)
def test_a_verdict_answers_the_step_that_waits_in_its_lane_and_closes_the_case(
    says: Says, score: float | None, answer: float | None, failure: str | None
) -> None:
    desk = Desk()
    assert desk.batch(question()).opened == 1
    escalated = desk.batch(verdict(says, score=score))
    assert results(escalated) == [("q1", "answered")]
    told, lane = escalated.answers[0]
    assert lane == 3
    assert (told.step_id, told.asked, told.score, told.failure) == (
        "p1", "analyst", answer, failure,
    )  # fmt: skip
    assert told.evidence == "ada: a known forger"
    assert told.waited_ms == 8_000
    assert desk.timers.entries() == 0


def test_a_verdict_on_a_decision_closes_its_case_and_answers_no_step() -> None:
    desk = Desk()
    (case,) = desk.batch(decision("review")).cases
    desk.batch(case)
    desk.now_ms = 10**9
    escalated = desk.batch(verdict(case_id=case.case_id))
    assert results(escalated) == [(case.case_id, "closed")], "a decision's case is never too late"
    assert escalated.reviewed[0].event_id == "p1"
    assert escalated.answers == []


def test_of_two_verdicts_the_first_counts_in_one_batch_as_in_two_and_after_a_restart() -> None:
    desk = Desk()
    desk.batch(question())
    escalated = desk.batch(verdict("approve"), verdict("block"))
    assert [one.result for one in escalated.reviewed] == ["answered", "repeated"]
    assert [one.score for one, _ in escalated.answers] == [0.0]
    desk.restart()
    again = desk.batch(verdict("block"), question())
    assert ([one.result for one in again.reviewed], again.answers) == (["repeated"], [])


def test_after_its_time_a_case_is_closed_and_a_verdict_comes_too_late() -> None:
    desk = Desk()
    desk.batch(question())
    desk.restart()
    desk.now_ms = 60_000
    escalated = desk.batch(verdict())
    assert [one.result for one in escalated.reviewed] == ["late", "expired"]
    assert [(one.score, one.failure) for one, _ in escalated.answers] == [(None, "timeout")]
    assert results(desk.batch(verdict())) == [("q1", "late")]


def test_a_verdict_that_comes_before_its_case_waits_for_it_and_only_a_little() -> None:
    desk = Desk()
    assert desk.batch(verdict()).reviewed == []
    assert results(desk.batch(verdict("approve"))) == [("q1", "repeated")]
    escalated = desk.batch(question())
    assert (results(escalated), len(escalated.answers)) == ([("q1", "answered")], 1)
    assert desk.timers.entries() == 0
    desk.batch(verdict(case_id="nobody's"))
    desk.now_ms += 30_000
    escalated = desk.batch()
    assert (results(escalated), escalated.answers) == ([("nobody's", "unknown")], [])


def test_a_verdict_in_the_wrong_partition_is_sent_where_it_belongs() -> None:
    desk = Desk(partitions=1_000_003)
    escalated = desk.batch(verdict())
    assert (escalated.misplaced, escalated.reviewed) == ([verdict()], [])


def test_where_too_many_cases_are_open_a_step_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EscalationState, "full", property(lambda _: True))
    escalated = Desk().batch(question())
    assert [(one.score, one.failure) for one, _ in escalated.answers] == [(None, "overloaded")]


def test_open_cases_are_known_by_queue_over_a_restart_and_a_rollback() -> None:
    desk = Desk()
    (review,) = desk.batch(decision("review")).cases
    desk.batch(review, question(), question("q2", "p2", due_ms=90_000))
    assert desk.state.open_cases() == {"dispatch": OpenCases(3, 1_000)}
    desk.batch(verdict())
    assert desk.state.open_cases() == {"dispatch": OpenCases(2, 1_000)}
    desk.state.begin()
    context = Context(desk.now_ms, 0, desk.partition_of, desk.state, timers=desk.timers)
    desk.timers.begin()
    desk.agent.escalate([verdict(case_id="q2")], [], context)
    desk.timers.changes(desk.now_ms)
    desk.timers.rollback()
    desk.state.changes(desk.now_ms)
    desk.state.rollback()
    assert desk.state.open_cases() == {"dispatch": OpenCases(2, 1_000)}
    desk.restart()
    assert desk.state.open_cases() == {"dispatch": OpenCases(2, 1_000)}
    desk.now_ms = 95_000
    desk.batch()
    assert desk.state.open_cases() == {"dispatch": OpenCases(1, 2_000)}, "a decision's has no end"
