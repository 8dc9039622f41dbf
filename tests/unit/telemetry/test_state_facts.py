"""What becomes of snapshots and of unreadable state is counted under names known beforehand."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from batuta.schemas.errors import OursError, SnapshotRefusedError, StateCorruptError
from batuta.streams.lanes.lane_facts import SnapshotEnded
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

LABELS = {"pipeline": "fraud", "stage": "scoring"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def telemetry(registry: CollectorRegistry) -> StageTelemetry:
    return StageTelemetry("fraud", "scoring", registry)


@pytest.mark.parametrize("result", ["saved", "loaded", "absent", "save_failed", "unverified"])
def test_snapshots_are_counted_by_result(
    registry: CollectorRegistry, telemetry: StageTelemetry, result: str
) -> None:
    name, labels = "batuta_state_snapshots_total", {**LABELS, "result": result}
    assert registry.get_sample_value(name, labels) == 0
    telemetry.tell(SnapshotEnded(3, result, "why"))
    assert registry.get_sample_value(name, labels) == 1


def test_a_lane_that_cannot_read_its_state_is_counted_beside_its_failure(
    registry: CollectorRegistry, telemetry: StageTelemetry
) -> None:
    telemetry.lane_failed(0, OursError("something else"))
    telemetry.lane_failed(1, StateCorruptError("state[1]@7: version 9"))
    name = "batuta_state_unreadable_records_total"
    assert registry.get_sample_value(name, LABELS) == 1
    failed = {**LABELS, "state": "failed"}
    assert registry.get_sample_value("batuta_lanes", failed) == 2


def test_a_refusal_says_its_reason_first() -> None:
    refused = SnapshotRefusedError("stale", "it is 9 ms old")
    assert (refused.reason, str(refused)) == ("stale", "stale: it is 9 ms old")
