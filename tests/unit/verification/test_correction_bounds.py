"""For whatever fails, in whatever order: attempts stay within their bounds, and tallies add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from batuta.agents.verification.remedies import Remedies, Remedy, attempts_of
from batuta.agents.verification.success import Success, Tally, key_of, tallies_of
from batuta.schemas.decision import Correction, Decision

if TYPE_CHECKING:
    from batuta.agents.verification.remedies import RemedyKind
    from batuta.schemas.decision import Corrected

REASONS = ("tone_rude", "claim_ungrounded", "out_of_range")
AT = "only"


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


def course(found: Remedies, data: st.DataObject, success: Success) -> list[Correction]:
    """Fail, and fail again, until something helps or nothing is left."""
    tried: list[Correction] = []
    reason = data.draw(st.sampled_from(REASONS))
    while (place := found.next(tried, AT, reason, success.odds)) is not None:
        assert found.next(tried, AT, reason, success.odds) == place, "the same choice repeats"
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
    for _ in range(data.draw(st.integers(1, 4))):
        batch = [decided(course(found, data, success)) for _ in range(2)]
        success.table.begin()
        success.take(batch)
        changes = success.table.changes(0)
        success.table.commit()
        assert len(changes) == len(dict(tallies_of(batch))), "a batch writes what it has changed"
        decisions += batch
    corrections = [one for decision in decisions for one in decision.corrections]
    recount = {
        key_of(AT, reason, remedy): Tally(
            sum(result != "skipped" for result in results), results.count("passed")
        )
        for reason, remedy in {(one.failed[0], one.remedy) for one in corrections}
        if (
            results := [
                one.result for one in corrections if (one.failed[0], one.remedy) == (reason, remedy)
            ]
        )
    }
    assert dict(success.table.items()) == {k: tally for k, tally in recount.items() if tally.tried}


def decided(tried: list[Correction]) -> Decision:
    return Decision(
        *("e1", "mends", 1, "default", "k", 0, 0, "review", 0.5, ("low",), "m@0", {}, ""),  # type: ignore[arg-type]
        corrections=tuple(tried),
    )
