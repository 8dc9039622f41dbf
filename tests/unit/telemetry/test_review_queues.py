"""The gauges of review queues: summed over lanes, as old as the oldest as they are scraped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge

from batuta.agents.open_cases import CaseQueues, OpenCases
from batuta.streams.telemetry.review_facts import CasesWait, QueuesKnown
from batuta.streams.telemetry.review_queues import ReviewQueues
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    Sampled = Callable[[str, str], float | None]

LABELS = ("pipeline", "queue")


class Queues:
    """The gauges on a registry of their own, and a clock that stands."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now_s = 100.0
        gauges = [Gauge(name, "-", LABELS, registry=self.registry) for name in ("open", "age")]
        self.queues = ReviewQueues(gauges[0], gauges[1], "fraud", lambda: self.now_s)

    def shown(self, queue: str) -> tuple[float | None, float | None]:
        """Return how many cases of a queue are open, and how old the oldest is."""
        of = {"pipeline": "fraud", "queue": queue}
        open_cases, age = (self.registry.get_sample_value(name, of) for name in ("open", "age"))
        return open_cases, age


def test_lanes_are_summed_and_the_oldest_grows_older_by_itself() -> None:
    at = Queues()
    at.queues.expect(("review", "seniors"))
    assert (at.shown("review"), at.shown("seniors")) == ((0, 0), (0, 0))
    at.queues.set(0, {"review": OpenCases(3, 90_000)})
    at.queues.set(1, {"review": OpenCases(2, 40_000), "seniors": OpenCases(1, 99_000)})
    assert (at.shown("review"), at.shown("seniors")) == ((5, 60), (1, 1))
    at.now_s = 110.0
    assert at.shown("review") == (5, 70)
    at.queues.drop(1)
    assert (at.shown("review"), at.shown("seniors")) == ((3, 20), (0, 0))
    at.queues.set(0, {})
    assert at.shown("review") == (0, 0)


def test_a_case_from_the_future_is_not_older_than_nothing() -> None:
    at = Queues()
    at.queues.expect(("review",))
    at.queues.set(0, {"review": OpenCases(1, 200_000)})
    assert at.shown("review") == (1, 0)


def test_queues_that_are_named_no_more_count_together() -> None:
    at = Queues()
    at.queues.expect(("review",))
    at.queues.set(0, {"gone": OpenCases(2, 90_000), "": OpenCases(1, 80_000)})
    assert (at.shown("other"), at.shown("gone")) == ((3, 20), (None, None))


def test_a_stage_shows_its_queues_and_a_closed_lane_takes_its_part_along() -> None:
    registry = CollectorRegistry()
    telemetry = StageTelemetry("fraud", "escalation", registry)
    telemetry.tell(QueuesKnown(("review",)))

    def sampled(name: str) -> float | None:
        return registry.get_sample_value(name, {"pipeline": "fraud", "queue": "review"})

    telemetry.lane_state(0, "ready")
    opened_ms = time.time_ns() // 1_000_000 - 60_000
    telemetry.tell(CasesWait(0, {"review": OpenCases(4, opened_ms)}))
    assert sampled("batuta_review_open_cases") == 4
    assert sampled("batuta_review_oldest_case_seconds") == pytest.approx(60, abs=50)
    telemetry.lane_state(0, "closed")
    assert sampled("batuta_review_open_cases") == 0


def test_a_queue_knows_its_oldest_case_though_others_were_opened_later_and_closed() -> None:
    queues = CaseQueues()
    for case_id, opened_ms in (("b", 20), ("a", 10), ("c", 30)):
        queues.note(case_id, "review", opened_ms, waits=True)
    held = {"a", "b", "c"}
    assert queues.open_cases(held.__contains__) == {"review": OpenCases(3, 10)}
    queues.note("a", "review", 10, waits=False)
    assert queues.open_cases(held.__contains__) == {"review": OpenCases(2, 20)}
    held.remove("b")
    assert queues.open_cases(held.__contains__) == {"review": OpenCases(1, 30)}
    held.clear()
    assert queues.open_cases(held.__contains__) == {}
