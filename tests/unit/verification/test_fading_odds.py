"""What helped long ago weighs little: counts fade, come back to even odds, and are dropped."""

from __future__ import annotations

import struct

import pytest

from batuta.agents.verification.success import HALF_LIFE_MS, Success, Tally, key_of
from batuta.schemas.decision import Correction, Decision

AT, REASON = "only", "tone_rude"
BEGIN_MS = 1_700_000_000_000
YEAR_MS = 365 * 86_400_000


def tried(success: Success, now_ms: int, remedy: str, results: str) -> None:
    """Count what a batch says: `+` for each attempt that passed, `-` for one that did not."""
    corrections = tuple(
        Correction(AT, number, remedy, (REASON,), "passed" if one == "+" else "failed")
        for number, one in enumerate(results, start=1)
    )
    success.table.begin()
    success.take(
        [
            Decision(
                *("e1", "mends", 1, "default", "k", 0, now_ms, "review", 0.5, ("low",), "m@0"),  # type: ignore[arg-type]
                {},
                "",
                corrections=corrections,
            )
        ]
        if results
        else []
    )
    success.table.changes(now_ms)
    success.table.commit()


def test_what_helped_long_ago_gives_way_to_what_helps_now() -> None:
    success = Success()
    tried(success, BEGIN_MS, "retry", "+" * 100)
    later_ms = BEGIN_MS + 10 * HALF_LIFE_MS
    tried(success, later_ms, "retry", "---")
    tried(success, later_ms, "repair", "++")
    odds = success.odds_at(later_ms)
    assert odds(AT, REASON, "repair") > 0.5 > odds(AT, REASON, "retry")


def test_who_is_not_tried_any_more_comes_back_to_even_odds() -> None:
    success = Success()
    tried(success, BEGIN_MS, "retry", "-" * 12)
    found = [
        success.odds_at(BEGIN_MS + lives * HALF_LIFE_MS)(AT, REASON, "retry")
        for lives in (0, 1, 2, 12)
    ]
    assert found[:3] == [2 / 16, 2 / 10, 2 / 7]
    assert found[3] == pytest.approx(0.5, abs=0.001)


def test_what_is_counted_by_a_clock_that_jumped_back_counts_as_old_as_it_says() -> None:
    success = Success()
    tried(success, BEGIN_MS, "retry", "++")
    tried(success, BEGIN_MS - HALF_LIFE_MS, "retry", "-")
    held = success.table.get(key_of(AT, REASON, "retry"))
    assert held == Tally(2.5, 2, BEGIN_MS)
    assert success.odds_at(0)(AT, REASON, "retry") == 4 / 6.5, "nothing grows"


def test_counts_from_before_they_faded_are_read_and_fade_from_their_next_attempt_on() -> None:
    success, key = Success(), key_of(AT, REASON, "retry")
    success.table.load(b"+" + key.encode(), b"\x01" + struct.pack(">QQ", 6, 6))
    assert success.odds_at(BEGIN_MS)(AT, REASON, "retry") == 0.8
    tried(success, BEGIN_MS, "retry", "-")
    assert success.table.get(key) == Tally(7, 6, BEGIN_MS)


def test_what_nobody_tried_for_a_year_is_dropped() -> None:
    success = Success()
    tried(success, BEGIN_MS, "retry", "+")
    tried(success, BEGIN_MS + YEAR_MS, "repair", "")
    assert success.table.entries() == 0
