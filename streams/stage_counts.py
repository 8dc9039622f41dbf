"""What each stage counts of a batch, once that batch is committed."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from batuta.agents.budgeting import Budgeted
from batuta.agents.budgets.rule import name_of
from batuta.agents.budgets.wallet import Leased, Paying
from batuta.agents.conductor import Concluded
from batuta.agents.escalation import Escalated
from batuta.agents.ingestion import Ingest
from batuta.agents.learning import Learnt
from batuta.agents.models.answers import NANO
from batuta.agents.reasons import TAINTED
from batuta.agents.selection.planner import outcome_of
from batuta.schemas.decision import Corrected
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.review import StepAnswer
from batuta.streams.app import clock_ms
from batuta.streams.telemetry.budget_facts import BudgetMoved, DecisionsPaid
from batuta.streams.telemetry.correction_facts import AnswersCorrected
from batuta.streams.telemetry.facts import ActionsWithheld, AnswersChecked
from batuta.streams.telemetry.planner_facts import ProposalsJudged
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = [
    "count_answers",
    "count_budgets",
    "count_checks",
    "count_costs",
    "count_decided",
    "count_escalated",
    "count_ingested",
    "count_labels",
    "count_learnt",
    "count_proposals",
    "open_leases",
]


def count_ingested(telemetry: StageTelemetry, result: Ingest) -> None:
    """Count what became of a batch of raw events."""
    telemetry.duplicates(result.duplicates)
    telemetry.rekeyed(len(result.misplaced))
    telemetry.late(len(result.late) + result.late_accepted)
    telemetry.finished(
        {
            "done": len(result.accepted),
            "duplicate": result.duplicates,
            "rekeyed": len(result.misplaced),
            "late": len(result.late),
        }
    )


def count_learnt(telemetry: StageTelemetry, learnt: Learnt, items: int) -> None:
    """Count what became of a batch of labels and of what tells whose they are."""
    telemetry.labels(
        {
            "matched": len(learnt.outcomes),
            "waiting": learnt.waiting,
            "repeated": learnt.repeated,
            "outdated": learnt.outdated,
            "unmatched": len(learnt.unmatched),
        }
    )
    telemetry.finished({"done": items})


def count_labels(
    telemetry: StageTelemetry, items: Sequence[Ingested | LabelOutcome | StepAnswer], expired: int
) -> None:
    """Count the labels among what scoring read."""
    outcomes = sum(isinstance(item, LabelOutcome) for item in items)
    if outcomes:
        telemetry.labels({"counted": outcomes - expired, "expired": expired})
        telemetry.finished({"done": outcomes})


def open_leases(telemetry: StageTelemetry, state: Paying, leased: Leased) -> None:
    """Let a lane draw from what it has leased, now that it is committed that it has."""
    if state.wallet is not None and leased.taken:
        state.wallet.purse.opened(leased.taken)
    if leased.grants:
        telemetry.finished({"done": leased.grants})


def count_budgets(telemetry: StageTelemetry, budgeted: Budgeted, items: int) -> None:
    """Show what remains of budgets; those of single tenants have no metric: ids are no labels."""
    for budget, standing in budgeted.standings.items():
        if name_of(budget) == budget:
            turns_ms, ends_ms = standing.account.window.end_ms, standing.forecast.ends_at_ms
            ends_ms = turns_ms if ends_ms is None else ends_ms
            telemetry.tell(BudgetMoved(budget, standing.remaining, ends_ms / 1000, turns_ms / 1000))
    telemetry.finished({"done": items})


def count_costs(telemetry: StageTelemetry, decided: DecisionColumns) -> None:
    """Count what decisions cost, by outcome."""
    amounts: Counter[tuple[str, str]] = Counter()
    for outcome, answers in zip(decided.outcome, decided.answers, strict=True):
        for answer in answers:
            if answer.cost_nano:
                amounts[outcome, answer.currency] += answer.cost_nano
    if amounts:
        telemetry.tell(DecisionsPaid({key: nano / NANO for key, nano in amounts.items()}))


def count_decided(telemetry: StageTelemetry, decided: DecisionColumns) -> None:
    """Count decisions by outcome, and how old their events were."""
    telemetry.decided(Counter(decided.outcome))
    telemetry.finished({"done": len(decided)})
    count_checks(telemetry, decided)
    telemetry.ages(clock_ms() - np.array(decided.published_ms, np.int64))


def count_proposals(telemetry: StageTelemetry, decided: DecisionColumns) -> None:
    """Count what became of a planner's proposals, and what they cost."""
    planned = [one for one in decided.selection if one is not None and one.planning]
    told = Counter(one.planning for one in planned)
    costs: Counter[str] = Counter()
    for one in planned:
        costs[one.planning_currency] += one.planning_cost_nano
    results = {(outcome_of(reason), reason): count for reason, count in told.items()}
    if results:
        spent = {currency: nano / NANO for currency, nano in costs.items() if nano}
        telemetry.tell(ProposalsJudged(results, spent))


def count_answers(telemetry: StageTelemetry, concluded: Concluded) -> None:
    """Count people's answers: those a step went on with, and those that none waited for."""
    told = concluded.resumed + concluded.ignored
    if told:
        telemetry.reviewed({"resumed": concluded.resumed, "ignored": concluded.ignored})
        telemetry.finished({"done": told})


def count_escalated(telemetry: StageTelemetry, escalated: Escalated, items: int) -> None:
    """Count cases that were opened, and what became of verdicts and cases."""
    telemetry.escalated(len(escalated.cases) + escalated.opened)
    telemetry.reviewed(Counter(one.result for one in escalated.reviewed))
    telemetry.finished({"done": items - len(escalated.misplaced)})
    telemetry.finished({"rekeyed": len(escalated.misplaced)})


def count_checks(telemetry: StageTelemetry, decided: DecisionColumns) -> None:
    """Count what checkpoints have found, what was tried then, and the actions left to a person."""
    # Most decisions share a few results: these are counted first, and taken apart once each.
    found = Counter(filter(None, decided.checks))
    results: Counter[tuple[str, str]] = Counter()
    for checks, count in found.items():
        for one in checks:
            results[one.check, one.reason] += count
    if results:
        telemetry.tell(AnswersChecked(results))
    attempts = _attempts(decided)
    if attempts:
        telemetry.tell(AnswersCorrected(attempts))
    if any(decided.taint):
        tainted = zip(decided.reasons, decided.taint, strict=True)
        held = Counter(
            taint for reasons, taints in tainted if TAINTED in reasons for taint in taints
        )
        if held:
            telemetry.tell(ActionsWithheld(held))


def _attempts(decided: DecisionColumns) -> Counter[tuple[str, str, Corrected]]:
    return Counter(
        (one.failed[0], one.remedy, one.result)
        for corrections in filter(None, decided.corrections)
        for one in corrections
    )
