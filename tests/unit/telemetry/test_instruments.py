"""The busy share: how much of the lanes' time went into batches."""

from __future__ import annotations

import pytest

from batuta.streams.telemetry.instruments import BusyShare


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_busy_is_a_share_of_the_lanes_time() -> None:
    clock = Clock()
    busy = BusyShare(lambda: 4, clock)
    clock.now_s += 5
    busy.add(10)
    assert busy.ratio() == pytest.approx(0.5)


def test_what_is_long_past_no_longer_counts() -> None:
    clock = Clock()
    busy = BusyShare(lambda: 1, clock)
    busy.add(9)
    for _ in range(30):
        clock.now_s += 1
        busy.ratio()
    assert busy.ratio() == 0


def test_asking_often_does_not_change_the_answer() -> None:
    clock = Clock()
    busy = BusyShare(lambda: 1, clock)
    for _ in range(1_000):
        clock.now_s += 0.01
        busy.add(0.005)
        busy.ratio()
    assert busy.ratio() == pytest.approx(0.5, abs=0.01)


def test_without_lanes_nothing_is_busy() -> None:
    clock = Clock()
    busy = BusyShare(lambda: 0, clock)
    clock.now_s += 1
    assert busy.ratio() == 0
