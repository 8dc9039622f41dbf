"""Shares of a stage: outcomes count from their place on, and a correction takes a mark back."""

from __future__ import annotations

from batuta.agents.understanding.share_sets import ShareSet
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.pipeline_rules import ShareFeature

DAY_MS = 86_400_000
SHARE = ShareFeature(name="risk", by="till", of="bad", windows_ms=(DAY_MS,), delay_ms=DAY_MS)


def event(number: int, time_ms: int, key: str = "t1") -> Ingested:
    return Ingested(f"e{number}", "c1", key, time_ms, 0, "default", {}, {})


def outcome(label: bool, previous: bool | None, event_time_ms: int = 0) -> LabelOutcome:  # noqa: FBT001
    return LabelOutcome("e0", "default", "t1", event_time_ms, label, previous, DAY_MS)


def shares_after(*outcomes: LabelOutcome) -> list[list[float]]:
    shares = ShareSet((SHARE,))
    for table in shares.tables:
        table.begin()
    items = [event(0, 0), event(1, 1), *outcomes, event(2, DAY_MS + 1)]
    return shares.take(items).features.tolist()


def test_names_are_those_of_the_pipelines_features() -> None:
    assert ShareSet((SHARE,)).names == ("risk_delayed_count_1d", "risk_share_bad_1d")


def test_events_alone_have_rows_and_marks_count_from_where_they_stand() -> None:
    assert shares_after(outcome(True, None)) == [[0, 0], [0, 0], [2, 0.5]]


def test_what_changes_nothing_counts_nothing() -> None:
    assert shares_after(outcome(False, None))[-1] == [2, 0]
    assert shares_after(outcome(True, None), outcome(True, True))[-1] == [2, 0.5]


def test_a_correction_takes_the_mark_back() -> None:
    assert shares_after(outcome(True, None), outcome(False, True))[-1] == [2, 0]


def test_what_comes_too_late_is_counted() -> None:
    shares = ShareSet((SHARE,))
    shares.tables[0].begin()
    assert shares.take([event(0, 30 * DAY_MS), outcome(True, None, 0)]).expired == 1
    assert shares.take([event(1, 30 * DAY_MS), outcome(True, None, 30 * DAY_MS)]).expired == 0


def test_without_shares_there_is_nothing_to_tell() -> None:
    assert ShareSet(()).take([event(0, 0), outcome(True, None)]).features.shape == (1, 0)
