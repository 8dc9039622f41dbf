"""Recording: from answers that were verified to the decisions that are written, in columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from batuta.agents.carrying import carried_by
from batuta.agents.concluded import ToldRows, digests_of
from batuta.agents.guarded_reasons import GuardedReasons
from batuta.agents.judging import Judge, Judged, Verified
from batuta.agents.policy.actions import admitted
from batuta.agents.putting import Delegation
from batuta.agents.understanding.features import FeatureRows
from batuta.agents.verification.taint import names_of
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.pipeline import Pipeline

__all__ = ["Recorder"]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Judges what was answered, and records it.

    Attributes:
        pipeline: whose events are decided.
        judge: its rules.
        delegation: whose answers they are.
        reasons: what features say about an event that is not approved.
    """

    pipeline: Pipeline
    judge: Judge
    delegation: Delegation
    reasons: GuardedReasons

    def record(self, told: ToldRows, verified: Verified, now_ms: int) -> DecisionColumns:
        """Decide about rows.

        Args:
            told: the rows, and all that was heard of them.
            verified: what was answered, row for row.
            now_ms: the time of the decisions.
        """
        pipeline, events, rows = self.pipeline, told.events, len(told.rows)
        judged = self.judge.judge(events, told.features, verified)
        features = FeatureRows(self.judge.columns, told.features)
        selections, answers = told.selections, told.answers()
        acting = [rule if rule is not None and rule.action else None for rule in judged.rules]
        contents, flags = carried_by(told, acting, verified.taint)
        decisions = DecisionColumns(
            event_id=[event.event_id for event in events],
            pipeline=[pipeline.name] * rows,
            pipeline_version=[pipeline.version] * rows,
            tenant=[event.tenant for event in events],
            entity=[event.entity for event in events],
            event_time_ms=[event.event_time_ms for event in events],
            decided_at_ms=[now_ms] * rows,
            outcome=judged.outcomes,
            score=judged.scores,
            reasons=self._reasons(judged, features),
            model=self.delegation.versions_of(selections, answers, told.versions),
            features=features,
            input_sha256=digests_of(events),
            published_ms=[event.published_ms for event in events],
            action=[(rule and rule.action) or "" for rule in acting],
            action_version=[0 if rule is None else rule.action_version for rule in acting],
            action_content=contents,
            selection=selections,
            answers=answers,
            fallback=told.marked(),
            control_offset=[told.question.control_offset] * rows,
            checks=told.checks(),
            taint=[names_of(one) for one in flags] if flags else [()] * rows,
            corrections=told.corrections(),
        )
        return DecisionColumns.of([admitted(one) for one in decisions]) if flags else decisions

    def _reasons(self, judged: Judged, features: FeatureRows) -> Sequence[tuple[str, ...]]:
        """Return the reason of each, and what features say of those that are not approved."""
        stopped = [place for place, one in enumerate(judged.outcomes) if one != "approve"]
        found: list[tuple[str, ...]] = [(reason,) for reason in judged.reasons]
        codes = self.reasons.codes_of_each(features.at(stopped))
        for place, further in zip(stopped, codes, strict=True):
            found[place] += further
        return found
