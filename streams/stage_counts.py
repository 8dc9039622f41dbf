"""What each stage counts of a batch, once that batch is committed."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from batuta.agents.conductor import Concluded
from batuta.agents.escalation import Escalated
from batuta.agents.ingestion import Ingest
from batuta.agents.learning import Learnt
from batuta.agents.reasons import TAINTED
from batuta.schemas.decision import Decision
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.review import StepAnswer
from batuta.streams.app import clock_ms
from batuta.streams.telemetry.facts import ActionsWithheld, AnswersChecked
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = [
    "count_answers",
    "count_checks",
    "count_decided",
    "count_escalated",
    "count_ingested",
    "count_labels",
    "count_learnt",
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


def count_decided(telemetry: StageTelemetry, decided: Sequence[Decision]) -> None:
    """Count decisions by outcome, and how old their events were."""
    telemetry.decided(Counter(decision.outcome for decision in decided))
    telemetry.finished({"done": len(decided)})
    count_checks(telemetry, decided)
    published = np.fromiter((d.published_ms for d in decided), np.int64, len(decided))
    telemetry.ages(clock_ms() - published)


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


def count_checks(telemetry: StageTelemetry, decided: Sequence[Decision]) -> None:
    """Count what checkpoints have found, and the actions that were left to a person."""
    # Most decisions share a few results: these are counted first, and taken apart once each.
    found = Counter(decision.checks for decision in decided if decision.checks)
    results: Counter[tuple[str, str]] = Counter()
    for checks, count in found.items():
        for one in checks:
            results[one.check, one.reason] += count
    if results:
        telemetry.tell(AnswersChecked(results))
    held = Counter(taint for one in decided if TAINTED in one.reasons for taint in one.taint)
    if held:
        telemetry.tell(ActionsWithheld(held))
