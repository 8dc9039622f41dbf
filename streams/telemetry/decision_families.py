"""The metrics of decisions, their models, plans, checks, costs and reviews, declared once."""

from typing import Final

from batuta.streams.telemetry.declaring import STAGE, Declare

__all__ = ["LATENCY_S", "DecisionFamilies"]

#: Bounds of a latency histogram, in seconds.
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)


class DecisionFamilies:
    """What is counted of decisions, with all labels open."""

    def declare_decided(self, declare: Declare) -> None:
        """Declare all of it."""
        self._declare_reviews(declare)
        self._declare_decisions(declare)
        self._declare_verification(declare)
        self._declare_costs(declare)
        self._declare_plans(declare)

    def _declare_costs(self, declare: Declare) -> None:
        self.decision_cost = declare.counter(
            "decision_cost_total", "What the answers behind decisions cost.",
            "pipeline", "outcome", "currency",
        )  # fmt: skip
        self.budget_remaining = declare.gauge(
            "budget_remaining_ratio", "The share of a budget neither spent nor leased.",
            "pipeline", "budget",
        )  # fmt: skip
        self.budget_end = declare.gauge(
            "budget_end_timestamp_seconds", "When a budget ends at this rate, or its window does.",
            "pipeline", "budget",
        )  # fmt: skip
        self.budget_window_end = declare.gauge(
            "budget_window_end_timestamp_seconds", "When a budget's window turns.",
            "pipeline", "budget",
        )  # fmt: skip

    def _declare_plans(self, declare: Declare) -> None:
        self.proposals = declare.counter(
            "proposals_total", "Decisions a planner was asked about, by what became of its plan.",
            "pipeline", "outcome", "reason",
        )  # fmt: skip
        self.planning_cost = declare.counter(
            "planning_cost_total", "What a planner's answers cost, in units of the currency.",
            "pipeline", "currency",
        )  # fmt: skip

    def _declare_reviews(self, declare: Declare) -> None:
        self.escalations = declare.counter("escalations_total", "Review cases opened.", "pipeline")
        self.review_open_cases = declare.gauge(
            "review_open_cases", "Cases that wait for a verdict.", "pipeline", "queue"
        )
        self.review_oldest_s = declare.gauge(
            "review_oldest_case_seconds", "How long the oldest of them waits.", "pipeline", "queue"
        )
        self.reviews = declare.counter(
            "reviews_total", "Verdicts and answers of people, by what became of them.",
            *STAGE, "result",
        )  # fmt: skip

    def _declare_decisions(self, declare: Declare) -> None:
        self.decisions = declare.counter(
            "decisions_total", "Decisions made.", "pipeline", "outcome"
        )
        self.notifications = declare.counter(
            "notifications_total", "Deliveries to a channel.", "pipeline", "channel", "result"
        )
        self.model_requests = declare.counter(
            "model_requests_total", "Events a model was asked about.",
            "pipeline", "model", "version", "result",
        )  # fmt: skip
        self.model_cost = declare.counter(
            "model_cost_total", "What answers of a model cost, in units of the currency.",
            "pipeline", "model", "currency",
        )  # fmt: skip
        self.model_attempts = declare.counter(
            "model_attempts_total", "Calls of a model that were made, made again, or not made.",
            "pipeline", "model", "attempt",
        )  # fmt: skip
        self.breaker_state = declare.gauge(
            "breaker_state", "A model's breaker: 0 closed, 1 half open, 2 open.",
            "pipeline", "model",
        )  # fmt: skip
        self.breaker_transitions = declare.counter(
            "breaker_transitions_total", "Changes of a model's breaker, by what it became.",
            "pipeline", "model", "state",
        )  # fmt: skip
        self.parts_broken = declare.counter(
            "parts_broken_total", "Batches over which a part of the user's own broke.",
            *STAGE, "part",
        )  # fmt: skip
        self.model_version = declare.gauge(
            "model_version_info", "Which version of a model follows the registry here; 1.",
            "pipeline", "model", "version",
        )  # fmt: skip
        self.control_offset = declare.gauge(
            "control_offset", "Behind the control record that made live what is asked.", "pipeline"
        )
        self.versions_refused = declare.counter(
            "model_versions_refused_total", "Versions in production that were not taken up here.",
            "pipeline",
        )  # fmt: skip
        self.version_refused = declare.gauge(
            "model_version_refused", "1 while the version in production is not taken up here.",
            "pipeline",
        )  # fmt: skip
        self.model_duration = declare.histogram(
            "model_duration_seconds", "One call of a model, a batch of events at once.",
            LATENCY_S, ("pipeline", "model", "version"),
        )  # fmt: skip

    def _declare_verification(self, declare: Declare) -> None:
        self.checks = declare.counter(
            "checks_total", "Answers a check has judged, by why they failed; `passed` where not.",
            "pipeline", "part", "reason",
        )  # fmt: skip
        self.corrections = declare.counter(
            "corrections_total", "Attempts to correct answers, by failure, remedy and result.",
            "pipeline", "reason", "remedy", "result",
        )  # fmt: skip
        self.withheld = declare.counter(
            "actions_withheld_total", "Actions left to a person, by the taint of the answer.",
            "pipeline", "reason",
        )  # fmt: skip
