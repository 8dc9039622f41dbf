"""Every Prometheus metric batuta exposes, declared once, and its children bound once per stage.

Labels are pipeline, stage, model, version, currency, part, outcome, reason, remedy, channel, queue,
result and state, never an id. Values known beforehand start at 0, so that no panel says "No data";
values nobody foresaw get a child of their own up to a bound, then count as `other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast, get_args
from weakref import WeakKeyDictionary

from prometheus_client import ProcessCollector, disable_created_metrics

from batuta.agents.verification.taint import TAINTS
from batuta.schemas.decision import Outcome
from batuta.schemas.refusals import REASONS
from batuta.schemas.review import ReviewedAs
from batuta.streams.telemetry.decision_families import LATENCY_S, DecisionFamilies
from batuta.streams.telemetry.declaring import STAGE, Declare, build_version
from batuta.streams.telemetry.guard_facts import ATTEMPTS
from batuta.streams.telemetry.instruments import (
    BusyShare,
    LaneStates,
    LaneSum,
    ParkedSteps,
    Tally,
)
from batuta.streams.telemetry.review_queues import ReviewQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry, Gauge, Histogram

__all__ = ["Families", "Meters", "families_of"]

_LANE_STATES: Final = ("starting", "restoring", "ready", "retrying", "failed")
_FINISHED: Final = ("done", "duplicate", "rekeyed", "late", "dead_letter")
_REVIEWS: Final = (*get_args(ReviewedAs), "resumed", "ignored")
_LABELS: Final = (
    *("matched", "waiting", "repeated", "outdated", "unmatched"),
    *("counted", "expired"),
)
_TRANSACTIONS: Final = ("committed", "aborted")
_CHANNELS: Final = ("log", "webhook")
_DELIVERIES: Final = ("delivered", "failed")
_ANSWERS: Final = ("answered", "failed")
_DEAD_LETTERS: Final = (*REASONS, "id_reused", "output_refused", "sink_unavailable", "gave_up")
_SNAPSHOTS: Final = (
    *("absent", "ahead", "behind", "damaged", "foreign", "format"),
    *("loaded", "save_failed", "saved", "stale", "unreadable", "unverified"),
)
_RETRIES: Final = (
    "broker_unreachable",
    "output_refused",
    "ownership_lost",
    "sink_unavailable",
    "transaction_failed",
)

_BATCH_S: Final = (*LATENCY_S, 2.5, 5, 10, 30)
_AGE_S: Final = (*LATENCY_S[2:], 2.5, 5, 10, 30, 60, 300, 1800, 21_600, 86_400, 604_800)
_RECORDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_PARTITIONS: Final = (1, 2, 5, 10, 20, 50, 100, 200)


class Families(DecisionFamilies):
    """The metrics of one registry, with all their labels open."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # A `_created` series beside every counter doubles the scrape and nobody reads it.
        cast("Callable[[], None]", disable_created_metrics)()
        ProcessCollector(registry=registry)

        declare = Declare(registry)
        self._declare_events(declare)
        self._declare_work(declare)
        self._declare_lanes(declare)
        self.declare_decided(declare)
        self._declare = declare
        self._broker_up: Gauge | None = None
        declare.gauge("build_info", "Which build runs.", "version").labels(build_version()).set(1)

    def broker_up(self) -> Gauge:
        """Return the gauge of whether a broker answers; it exists from the first answer on."""
        if self._broker_up is None:
            self._broker_up = self._declare.gauge("broker_up", "Whether a Kafka broker answers.")
        return self._broker_up

    def _declare_events(self, declare: Declare) -> None:
        self.received = declare.counter("events_received_total", "Events read.", *STAGE)
        self.finished = declare.counter(
            "events_finished_total", "Events seen through; what is left is in flight.",
            *STAGE, "outcome",
        )  # fmt: skip
        self.age = declare.histogram(
            "event_age_seconds", "From the record's timestamp to the commit.", _AGE_S
        )
        self.dead_letters = declare.counter(
            "deadletters_total", "Events no stage could accept.", *STAGE, "reason"
        )
        self.duplicates = declare.counter(
            "duplicates_total", "Identical redeliveries that were dropped.", *STAGE
        )
        self.labels = declare.counter(
            "labels_total", "Labels, by what became of them.", *STAGE, "result"
        )
        self.late = declare.counter(
            "events_late_total", "Events that came behind their lane's watermark.", *STAGE
        )
        self.rekeyed = declare.counter(
            "rekeyed_total", "Events forwarded to the partition of their key.", *STAGE
        )
        self.unknown_fields = declare.counter(
            "unknown_fields_total",
            "Fields that were ignored because no schema names them.",
            *STAGE,
        )

    def _declare_work(self, declare: Declare) -> None:
        self.stage_duration = declare.histogram(
            "stage_duration_seconds", "From a batch's decoding to its commit.", _BATCH_S
        )
        self.batch_records = declare.histogram("batch_records", "Records in a batch.", _RECORDS)
        self.busy = declare.gauge(
            "busy_ratio", "Share of time the lanes had a batch in hand.", *STAGE
        )
        self.lag = declare.gauge(
            "consumer_lag_records", "Records written and not yet committed by us.", *STAGE
        )
        self.transactions = declare.counter(
            "transactions_total", "Kafka transactions that ended.", *STAGE, "result"
        )
        self.transaction_duration = declare.histogram(
            "transaction_duration_seconds", "From begin to the end of a transaction.", _BATCH_S
        )
        self.transaction_partitions = declare.histogram(
            "transaction_partitions", "Partitions one transaction wrote to.", _PARTITIONS
        )
        self.retries = declare.counter(
            "retries_total", "Batches tried again because the outside world failed.",
            *STAGE, "reason",
        )  # fmt: skip

    def _declare_lanes(self, declare: Declare) -> None:
        self.rebalances = declare.counter("rebalances_total", "Assignments by the group.", *STAGE)
        self.lanes = declare.gauge("lanes", "Lanes of this worker.", *STAGE, "state")
        self.restarts = declare.counter(
            "lane_restarts_total", "Lanes that began again after trouble.", *STAGE, "reason"
        )
        self.state_entries = declare.gauge("state_entries", "Entries of keyed state.", *STAGE)
        self.parked = declare.gauge(
            "parked_steps", "Steps that wait for an answer.", *STAGE, "kind"
        )
        self.parking_ratio = declare.gauge(
            "parking_ratio", "How full the fullest lane's parking lot is; at 1 it reads no event.",
            *STAGE,
        )  # fmt: skip
        self.restore_remaining = declare.gauge(
            "state_restore_remaining_records", "Changelog records still to be read.", *STAGE
        )
        self.backpressure = declare.counter(
            "backpressure_seconds_total",
            "Time lanes took no records, because those in hand were not seen through.",
            *STAGE,
        )
        self.lanes_paused = declare.gauge(
            "lanes_paused", "Lanes that take no records at all.", *STAGE
        )
        self.snapshots = declare.counter(
            "state_snapshots_total", "Snapshots saved, loaded, missed or refused.",
            *STAGE, "result",
        )  # fmt: skip
        self.unreadable_changes = declare.counter(
            "state_unreadable_records_total",
            "Changelog records that this release cannot read.",
            *STAGE,
        )


class Meters:
    """The metrics of one stage, bound: what facts count on."""

    def __init__(self, families: Families, pipeline: str, stage: str) -> None:
        of = (pipeline, stage)
        self.received = families.received.labels(*of)
        self.finished = Tally(families.finished, of, _each(_FINISHED))
        self.age = families.age.labels(*of)
        self.dead_letters = Tally(families.dead_letters, of, _each(_DEAD_LETTERS))
        self.duplicates = families.duplicates.labels(*of)
        self.late = families.late.labels(*of)
        self.labels = Tally(families.labels, of, _each(_LABELS))
        self.rekeyed = families.rekeyed.labels(*of)
        self.unknown_fields = families.unknown_fields.labels(*of)
        self.stage_duration = families.stage_duration.labels(*of)
        self.batch_records = families.batch_records.labels(*of)
        self.lag = LaneSum(families.lag.labels(*of))
        self.transactions = Tally(families.transactions, of, _each(_TRANSACTIONS))
        self.transaction_duration = families.transaction_duration.labels(*of)
        self.transaction_partitions = families.transaction_partitions.labels(*of)
        self.retries = Tally(families.retries, of, _each(_RETRIES))
        self.rebalances = families.rebalances.labels(*of)
        self.lanes = LaneStates(families.lanes, of, _LANE_STATES)
        self.restarts = Tally(families.restarts, of, _each(_RETRIES))
        self.state_entries = LaneSum(families.state_entries.labels(*of))
        self.parked = ParkedSteps(families.parked, families.parking_ratio, of)
        self.restore_remaining = LaneSum(families.restore_remaining.labels(*of))
        self.backpressure = families.backpressure.labels(*of)
        self.lanes_paused = LaneSum(families.lanes_paused.labels(*of))
        self.snapshots = Tally(families.snapshots, of, _each(_SNAPSHOTS))
        self.unreadable_changes = families.unreadable_changes.labels(*of)
        self.busy = BusyShare(self.lanes.count)
        families.busy.labels(*of).set_function(self.busy.ratio)
        self.decisions = Tally(families.decisions, (pipeline,), _each(get_args(Outcome)))
        self.escalations = families.escalations.labels(pipeline)
        self.reviews = Tally(families.reviews, of, _each(_REVIEWS))
        self.review_queues = ReviewQueues(
            families.review_open_cases, families.review_oldest_s, pipeline
        )
        ways = [(channel, result) for channel in _CHANNELS for result in _DELIVERIES]
        self.notifications = Tally(families.notifications, (pipeline,), ways)
        self._bind_plans(families, pipeline)
        self.model_requests = Tally(families.model_requests, (pipeline,), ())
        self.model_cost = Tally(families.model_cost, (pipeline,), ())
        self.decision_cost = Tally(families.decision_cost, (pipeline,), ())
        self._attempts: dict[str, Tally] = {}
        self.breaker_transitions = Tally(families.breaker_transitions, (pipeline,), ())
        self.checks = Tally(families.checks, (pipeline,), ())
        self.corrections = Tally(families.corrections, (pipeline,), ())
        self.withheld = Tally(families.withheld, (pipeline,), _each(TAINTS))
        self.parts_broken = Tally(families.parts_broken, of, ())
        self.versions_refused = families.versions_refused.labels(pipeline)
        self.version_refused = families.version_refused.labels(pipeline)
        self._families = families
        self._live: Mapping[str, str] = {}
        self._pipeline = pipeline

    def _bind_plans(self, families: Families, pipeline: str) -> None:
        self.proposals = Tally(families.proposals, (pipeline,), ())
        self.planning_cost = Tally(families.planning_cost, (pipeline,), ())

    def budget(self, budget: str, remaining: float, ends_s: float, turns_s: float) -> None:
        """Show which share of a budget remains, when it will end and when its window turns."""
        families, of = self._families, (self._pipeline, budget)
        families.budget_remaining.labels(*of).set(remaining)
        families.budget_end.labels(*of).set(ends_s)
        families.budget_window_end.labels(*of).set(turns_s)

    def model_duration(self, model: str, version: str) -> Histogram:
        """Return the histogram of one model's calls."""
        return self._families.model_duration.labels(self._pipeline, model, version)

    def model_attempts(self, model: str) -> Tally:
        """Return the counters of one model's attempts."""
        found = self._attempts.get(model)
        if found is None:
            family = self._families.model_attempts
            found = Tally(family, (self._pipeline, model), _each(ATTEMPTS))
            self._attempts[model] = found
        return found

    def breaker_state(self, model: str) -> Gauge:
        """Return the gauge of one model's breaker."""
        return self._families.breaker_state.labels(self._pipeline, model)

    def expect_model(self, model: str, version: str) -> None:
        """Let a loaded model's metrics start at 0."""
        for result in _ANSWERS:
            self.model_requests.add(0, model, version, result)
        self.model_duration(model, version)

    def live(self, versions: Mapping[str, str], control_offset: int) -> None:
        """Show the versions, by model, that follow the registry, and no former one."""
        family = self._families.model_version
        for model, version in self._live.items():
            family.remove(self._pipeline, model, version)
        for model, version in versions.items():
            family.labels(self._pipeline, model, version).set(1)
        self._live = versions
        self._families.control_offset.labels(self._pipeline).set(control_offset)


_families: WeakKeyDictionary[CollectorRegistry, Families] = WeakKeyDictionary()


def families_of(registry: CollectorRegistry) -> Families:
    """Return the metrics of a registry, declared when first asked for."""
    found = _families.get(registry)
    if found is None:
        found = _families[registry] = Families(registry)
    return found


def _each(values: Iterable[str]) -> list[tuple[str, ...]]:
    return [(value,) for value in values]
