"""For whatever fails, in whatever order: attempts stay within their bounds, and tallies add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.verification.remedies import Remedies, Remedy, attempts_of
from batuta.agents.verification.success import HALF_LIFE_MS, Success, key_of, tallies_of
from batuta.schemas.decision import Correction, Decision

if TYPE_CHECKING:
    from batuta.agents.verification.remedies import RemedyKind
    from batuta.schemas.decision import Corrected

REASONS = ("tone_rude", "claim_ungrounded", "out_of_range")
AT = "only"
DAY_MS = 86_400_000


@st.composite
def remedies(draw: st.DrawFn) -> Remedies:
    kinds: list[RemedyKind] = draw(st.lists(st.sampled_from(("retry", "repair", "model"))))  # type: ignore[arg-type]
    each = [
        Remedy(
            kind,
            f"{kind}:{number}",
            times=draw(st.integers(1, 3)),
            reasons=draw(st.frozensets(st.sampled_from(REASONS), max_size=1)),
            place=draw(st.sampled_from(("", "first", "last"))),
        )
        for number, kind in enumerate(kinds[:6])
    ]
    if draw(st.booleans()):
        each.append(Remedy("human", "human:desk", ("desk",)))
    return Remedies(
        tuple(each), draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.booleans())
    )


def course(
    found: Remedies, data: st.DataObject, success: Success, now_ms: int = DAY_MS
) -> list[Correction]:
    """Fail, and fail again, until something helps or nothing is left."""
    tried: list[Correction] = []
    reason = data.draw(st.sampled_from(REASONS))
    odds = success.odds_at(now_ms)
    while (place := found.next(tried, AT, reason, odds)) is not None:
        assert found.next(tried, AT, reason, odds) == place, "the same choice repeats"
        remedy = found.each[place]
        assert not remedy.reasons or reason in remedy.reasons
        results: tuple[Corrected, ...] = ("passed", "failed", "skipped")
        result = data.draw(st.sampled_from(results))
        tried.append(Correction(AT, len(tried) + 1, remedy.name, (reason,), result))
        if result == "passed":
            break
        if result == "failed":
            reason = data.draw(st.sampled_from(REASONS))
    return tried


@given(remedies(), st.data())
def test_attempts_never_exceed_their_bounds(found: Remedies, data: st.DataObject) -> None:
    tried = course(found, data, Success())
    attempts = attempts_of(tried)
    assert len(attempts) <= found.attempts_max
    for count in Counter(one.failed[0] for one in attempts).values():
        assert count <= found.attempts_per_reason_max
    times = {one.name: one.times for one in found.each}
    for name, count in Counter(one.remedy for one in tried).items():
        assert count <= times[name]
    people = [number for number, one in enumerate(tried) if one.remedy == "human:desk"]
    assert people in ([], [len(tried) - 1]), "a person is asked last, and once"


@given(remedies(), st.data())
def test_tallies_equal_a_recount(found: Remedies, data: st.DataObject) -> None:
    success = Success()
    decisions: list[Decision] = []
    now_ms = DAY_MS
    for _ in range(data.draw(st.integers(1, 4))):
        now_ms += data.draw(st.integers(0, 90)) * DAY_MS
        batch = [decided(course(found, data, success, now_ms), now_ms) for _ in range(2)]
        success.table.begin()
        success.take(batch)
        changes = success.table.changes(now_ms)
        success.table.commit()
        assert len(changes) == len(dict(tallies_of(batch))), "a batch writes what it has changed"
        decisions += batch
    held = dict(success.table.items())
    corrections = [(one, each.decided_at_ms) for each in decisions for one in each.corrections]
    counted = [(one, at_ms) for one, at_ms in corrections if one.result != "skipped"]
    assert held.keys() == {key_of(AT, one.failed[0], one.remedy) for one, _ in counted}
    for key, tally in held.items():
        weights = [
            (0.5 ** ((tally.at_ms - at_ms) / HALF_LIFE_MS), one.result == "passed")
            for one, at_ms in counted
            if key_of(AT, one.failed[0], one.remedy) == key
        ]
        assert tally.tried == pytest.approx(sum(weight for weight, _ in weights))
        assert tally.passed == pytest.approx(sum(weight for weight, passed in weights if passed))


def decided(tried: list[Correction], now_ms: int) -> Decision:
    return Decision(
        *("e1", "mends", 1, "default", "k", 0, now_ms, "review", 0.5, ("low",), "m@0", {}, ""),  # type: ignore[arg-type]
        corrections=tuple(tried),
    )
