"""Every fact of a stage counts what it says, on the registry it was given."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from batuta.streams.telemetry.stage_telemetry import StageTelemetry

LABELS = {"pipeline": "fraud", "stage": "scoring"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def telemetry(registry: CollectorRegistry) -> StageTelemetry:
    return StageTelemetry("fraud", "scoring", registry)


class Sample(Protocol):
    def __call__(self, name: str, **labels: str) -> float | None: ...


@pytest.fixture
def sample(registry: CollectorRegistry) -> Sample:
    def sampled(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"batuta_{name}", {**LABELS, **labels})

    return sampled


def test_known_values_start_at_zero(telemetry: StageTelemetry, sample: Sample) -> None:
    del telemetry
    assert sample("events_received_total") == 0
    assert sample("events_finished_total", outcome="done") == 0
    assert sample("event_age_seconds_count") == 0
    assert sample("deadletters_total", reason="not_json") == 0
    assert sample("lanes", state="ready") == 0
    assert sample("consumer_lag_records") == 0


def test_events_are_counted(telemetry: StageTelemetry, sample: Sample) -> None:
    telemetry.received(10)
    telemetry.finished({"done": 6, "duplicate": 2})
    telemetry.finished({"done": 1})
    telemetry.dead_lettered("not_json", 3)
    telemetry.duplicates(2)
    telemetry.rekeyed(4)
    telemetry.unknown_fields(5)
    assert sample("events_received_total") == 10
    assert sample("events_finished_total", outcome="done") == 7
    assert sample("events_finished_total", outcome="duplicate") == 2
    assert sample("events_finished_total", outcome="dead_letter") == 3
    assert sample("deadletters_total", reason="not_json") == 3
    assert sample("duplicates_total") == 2
    assert sample("rekeyed_total") == 4
    assert sample("unknown_fields_total") == 5


def test_ages_are_seconds_and_never_negative(telemetry: StageTelemetry, sample: Sample) -> None:
    telemetry.ages(np.array([4, 40, 2_000, -7_000]))
    assert sample("event_age_seconds_sum") == pytest.approx(2.044)
    assert sample("event_age_seconds_bucket", le="0.005") == 2
    assert sample("event_age_seconds_count") == 4


def test_batches_and_transactions_are_observed(telemetry: StageTelemetry, sample: Sample) -> None:
    telemetry.batch(2_000, 0.25)
    telemetry.transaction("committed", 0.01, 9)
    telemetry.transaction("aborted", 0.02, 3)
    assert sample("batch_records_sum") == 2_000
    assert sample("stage_duration_seconds_sum") == 0.25
    assert sample("transactions_total", result="committed") == 1
    assert sample("transactions_total", result="aborted") == 1
    assert sample("transaction_partitions_sum") == 12
    assert sample("transaction_duration_seconds_sum") == pytest.approx(0.03)


def test_lanes_are_counted_by_state_and_summed(telemetry: StageTelemetry, sample: Sample) -> None:
    for partition in (0, 1):
        telemetry.lane_state(partition, "starting")
        telemetry.restore_remaining(partition, 700)
        telemetry.lag(partition, 30)
        telemetry.state_entries(partition, 5)
    telemetry.lane_state(0, "ready")
    assert (sample("lanes", state="starting"), sample("lanes", state="ready")) == (1, 1)
    assert sample("state_restore_remaining_records") == 700
    telemetry.lane_state(1, "closed")
    assert sample("lanes", state="starting") == 0
    assert sample("consumer_lag_records") == 30
    assert sample("state_entries") == 5
    assert sample("state_restore_remaining_records") == 0


def test_an_error_is_named_by_a_snake_case_reason(
    telemetry: StageTelemetry, sample: Sample
) -> None:
    telemetry.retried("OutputRefusedError")
    telemetry.retried("gave_up")
    telemetry.lane_restarted(0, ConnectionResetError("gone"))
    telemetry.rebalanced()
    assert sample("retries_total", reason="output_refused") == 1
    assert sample("retries_total", reason="gave_up") == 1
    assert sample("lane_restarts_total", reason="connection_reset") == 1
    assert sample("rebalances_total") == 1


def test_a_failed_lane_calls_a_human_with_its_traceback(
    telemetry: StageTelemetry, sample: Sample
) -> None:
    telemetry.lane_state(3, "ready")
    with structlog.testing.capture_logs() as lines:
        telemetry.lane_failed(3, AssertionError("broken promise"))
    assert [(line["event"], line["log_level"]) for line in lines] == [("lane_failed", "error")]
    assert sample("lanes", state="failed") == 1
    assert sample("lanes", state="ready") == 0


def test_a_flood_of_dead_letters_is_counted_whole_and_said_once(
    telemetry: StageTelemetry, sample: Sample
) -> None:
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            telemetry.dead_lettered("not_json", 2)
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("dead_letters_written", "not_json")
    ]
    assert sample("deadletters_total", reason="not_json") == 200


def test_reasons_nobody_foresaw_are_bounded(
    telemetry: StageTelemetry, registry: CollectorRegistry, sample: Sample
) -> None:
    for number in range(1_000):
        telemetry.dead_lettered(f"reason_{number}", 1)
    series = [
        line
        for line in generate_latest(registry).decode().splitlines()
        if line.startswith("batuta_deadletters_total{")
    ]
    assert len(series) <= 65
    other = sample("deadletters_total", reason="other")
    assert other is not None
    assert other >= 900


def test_decisions_belong_to_the_pipeline(
    telemetry: StageTelemetry, registry: CollectorRegistry
) -> None:
    telemetry.model_loaded("forest", "forest@5f1d0c9a7b3e")
    telemetry.model("forest", "forest@5f1d0c9a7b3e", "answered", 20, 0.004)
    telemetry.decided({"approve": 18, "review": 2})
    telemetry.escalated(2)
    telemetry.notified("webhook", "failed")

    def of_pipeline(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"batuta_{name}", {"pipeline": "fraud", **labels})

    forest = {"model": "forest", "version": "forest@5f1d0c9a7b3e"}
    assert of_pipeline("decisions_total", outcome="approve") == 18
    assert of_pipeline("decisions_total", outcome="block") == 0
    assert of_pipeline("escalations_total") == 2
    assert of_pipeline("notifications_total", channel="webhook", result="failed") == 1
    assert of_pipeline("notifications_total", channel="log", result="delivered") == 0
    assert of_pipeline("model_requests_total", result="answered", **forest) == 20
    assert of_pipeline("model_requests_total", result="failed", **forest) == 0
    assert of_pipeline("model_duration_seconds_count", **forest) == 1


def test_stages_share_a_registry_and_workers_do_not(registry: CollectorRegistry) -> None:
    StageTelemetry("fraud", "ingestion", registry).received(1)
    StageTelemetry("fraud", "scoring", registry).received(2)
    StageTelemetry("fraud", "scoring", CollectorRegistry()).received(4)
    name = "batuta_events_received_total"
    assert registry.get_sample_value(name, {**LABELS, "stage": "ingestion"}) == 1
    assert registry.get_sample_value(name, LABELS) == 2


def test_labels_are_never_ids(telemetry: StageTelemetry, registry: CollectorRegistry) -> None:
    telemetry.model_loaded("forest", "forest@5f1d0c9a7b3e")
    telemetry.part_broke("ratio", ValueError("no luck"))
    allowed = {
        *("pipeline", "stage", "model", "version", "action", "outcome", "reason", "channel"),
        *("part", "result", "state", "kind", "queue", "le"),
    }
    for family in registry.collect():
        for metric in family.samples:
            assert set(metric.labels) <= allowed, metric.name
